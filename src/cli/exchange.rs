// SPDX-License-Identifier: GPL-3.0-or-later
//! `export`, `import`, `publish`, `key`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use crate::atomic_file::{self, AtomicFile};
use crate::engine::{Planned, valid_closure, valid_outputs};
use crate::exchange::publish;
use crate::exchange::stream::{self, Trust};
use crate::formats::count::agreeing;
use crate::formats::keys::{self, PublicKey, SecretKey};
use crate::formats::visible::visible_path;
use crate::show::progress::size;

/// What `export` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The packages; none is the final inputs.
    pub packages: &'a [String],
    /// Whether what they refer to is left out.
    pub alone: bool,
    /// Where to; standard output where there is none.
    pub output: Option<&'a Path>,
    /// What to sign with.
    pub key: Option<&'a Path>,
    /// The Guile module to write instead.
    pub guix: Option<&'a Path>,
}

/// `bootstrap key NAME FILE`, or `bootstrap key --guix FILE`, of which the command line has one.
pub fn key(
    name: Option<&str>,
    file: Option<&Path>,
    guix: Option<&Path>,
) -> Result<(), CommandFailure> {
    match (guix, name, file) {
        (Some(file), _, _) => {
            let keys = match SecretKey::read(file) {
                Ok(secret) => vec![secret.public()],
                Err(_) => PublicKey::read(file)?,
            };
            let keys = keys.iter().map(keys::guix::public_key);
            print(&keys.map(|key| format!("{key}\n")).collect::<String>())
        }
        (None, Some(name), Some(file)) => print(&format!("{}\n", SecretKey::generate(name, file)?)),
        _ => Err(CommandFailure::usage(
            "a new key needs a NAME and a FILE",
            "`--guix FILE` shows an existing one",
        )),
    }
}

/// `bootstrap export`.
pub fn export(context: &Context, wanted: Export<'_>) -> Result<(), CommandFailure> {
    let planned = context.plan()?;
    context.note_impurity(&planned);
    if let Some(file) = wanted.guix {
        return export_guix(context, &planned, file);
    }
    let store = context.store_to_read()?;
    let chosen = match wanted.alone {
        true => valid_outputs,
        false => valid_closure,
    };
    let paths = chosen(&context.session, &planned, &store, wanted.packages)?;
    let items = stream::in_order(&store, &paths)?;
    let key = wanted.key.map(SecretKey::read).transpose()?;
    let write = |sink: &mut dyn Write, location: &str| -> Result<(), CommandFailure> {
        Ok(stream::export(
            &store,
            &items,
            key.as_ref(),
            sink,
            location,
        )?)
    };
    match wanted.output {
        Some(path) => write_whole(path, |sink| write(sink, &path.display().to_string()))?,
        None if io::stdout().is_terminal() => {
            return Err(CommandFailure::usage(
                "an export is binary: it is not written to a terminal",
                "give -o FILE, or pipe it into `guix archive --import` or `nix-store --import`",
            ));
        }
        None => write(&mut io::stdout().lock(), "to standard output")?,
    }
    let bytes: u64 = items.iter().map(|info| info.nar_size).sum();
    context.note(&format!(
        "exported {}, {}",
        size::counted(items.len(), "item"),
        size::bytes(bytes)
    ));
    Ok(())
}

/// `bootstrap export --guix FILE`.
fn export_guix(context: &Context, planned: &Planned, file: &Path) -> Result<(), CommandFailure> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let module = context.session.guix_module(planned, &name)?;
    // Before the file is replaced: what was standard output then has no name any more.
    let place = atomic_file::place_of(file);
    write_whole(file, |sink| {
        let written = sink.write_all(module.text.as_bytes());
        written.map_err(CommandFailure::writing(file.display().to_string()))
    })?;
    let session = &context.session;
    for note in session.place_module(planned, &module, place.as_deref())? {
        context.note(&note);
    }
    if context.options.root.is_some() {
        let directories = &context.directories;
        context.note(&format!(
            "the module names derivations in {}, and they are in {}: Guix finds them where that is mounted there",
            directories.store_dir,
            directories.store.display()
        ));
    }
    Ok(())
}

/// Has `write` fill the file `path`, which gets its name once it is complete: until then, and where that fails, what
/// had the name stays. A device or a pipe is written to.
pub(super) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CommandFailure>,
) -> Result<(), CommandFailure> {
    let failed = || CommandFailure::writing(visible_path(path));
    let Some(place) = atomic_file::place_of(path) else {
        let file = File::options().write(true).open(path).map_err(failed())?;
        let mut sink = BufWriter::with_capacity(1 << 17, file);
        write(&mut sink)?;
        return sink.flush().map_err(failed());
    };
    let error = CommandFailure::from;
    let file = AtomicFile::create(&place).map_err(error)?;
    let mut sink = BufWriter::with_capacity(1 << 17, file);
    write(&mut sink)?;
    sink.into_inner()
        .map_err(|error| failed()(error.into_error()))?
        .persist()
        .map_err(error)
}

/// `bootstrap import`.
pub fn import(
    context: &Context,
    file: Option<&Path>,
    unsigned: bool,
) -> Result<(), CommandFailure> {
    let keys = context.session.options().trusted_keys.read()?;
    let trust = Trust {
        keys: &keys,
        unsigned,
    };
    let store = context.store_to_write()?;
    let (mut source, location): (Box<dyn Read>, String) = match file {
        Some(path) => {
            let file = File::open(path).map_err(CommandFailure::reading(path))?;
            (Box::new(file), path.display().to_string())
        }
        None => (Box::new(io::stdin().lock()), "standard input".to_owned()),
    };
    let scratch = store.directories().state.join("bootstrap");
    let imported = stream::import(&store, &mut source, trust, &scratch, &location)?;
    let paths: Vec<String> = imported.iter().map(|path| context.shown(path)).collect();
    match context.options.json {
        true => print_json(&paths),
        false => print(
            &paths
                .iter()
                .map(|path| format!("{path}\n"))
                .collect::<String>(),
        ),
    }
}

/// `bootstrap publish`.
pub fn publish(
    context: &Context,
    directory: &Path,
    packages: &[String],
    key: Option<&Path>,
) -> Result<(), CommandFailure> {
    let planned = context.plan()?;
    context.note_impurity(&planned);
    let store = context.store_to_read()?;
    let key = key.map(SecretKey::read).transpose()?;
    let paths = valid_outputs(&context.session, &planned, &store, packages)?;
    let published = publish::publish(&store, &paths, key.as_ref(), directory)?;
    if !context.options.json {
        context.note(&format!(
            "published {}, {}; {} {} there already",
            size::counted(published.written, "item"),
            size::bytes(published.bytes),
            published.kept,
            agreeing(published.kept, "was", "were")
        ));
    }
    if key.is_none() {
        context.note("nothing is signed: others will not take it; make a key with `bootstrap key NAME FILE`, give it with --key");
    }
    match context.options.json {
        true => print_json(&published),
        false => Ok(()),
    }
}

/// A place given as `-` is standard input or output.
pub(super) fn place(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path)
        .filter(|path| *path != Path::new("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::ExchangeError;
    use crate::formats::nar::{NarError, NarProblem};
    use crate::store::StoreError;

    #[test]
    fn scripts_are_told_whose_fault_it_is() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let path = || "/gnu/store/x".to_owned();
        let file = || NarError::File {
            action: "write",
            path: path().into(),
            error: full(),
        };
        let cases = [
            (ExchangeError::Store(StoreError::Nar(file())), 5),
            (ExchangeError::Nar(file()), 5),
            (ExchangeError::Nar(NarError::Sink(full())), 5),
            (
                ExchangeError::Archive {
                    path: path(),
                    location: "https://example.org".to_owned(),
                    error: NarError::Corrupt {
                        offset: 0,
                        problem: NarProblem::Trailing,
                    },
                },
                3,
            ),
            (
                ExchangeError::Server {
                    url: "https://example.org".to_owned(),
                    problem: "it broke off".to_owned(),
                    trouble: crate::exchange::Trouble::File,
                },
                4,
            ),
            (ExchangeError::Interrupted, 1),
        ];
        for (error, status) in cases {
            let failure = CommandFailure::from(error);
            assert_eq!(failure.status(), status, "{failure}");
        }
    }
}
