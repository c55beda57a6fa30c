// SPDX-License-Identifier: GPL-3.0-or-later
//! Which program is the daemon's build hook.

use std::path::Path;

use crate::engine::programs;
use crate::formats::visible::visible;
use crate::store::directories::Directories;

/// The machines that `guix offload` uses.
const MACHINES: &str = "/etc/guix/machines.scm";

/// A hook that cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("--build-hook: expected a program, found `{}'", visible(.0))]
pub struct UnknownHook(String);

/// The program and first arguments of the build hook: those of `chosen`, which spaces separate, or `guix offload` where
/// this machine has that and machines for it. Empty where there is none.
///
/// # Errors
/// Where the chosen program does not exist.
pub fn build_hook(
    chosen: Option<&str>,
    directories: &Directories,
) -> Result<Vec<String>, UnknownHook> {
    let Some(chosen) = chosen else {
        // `guix offload` works in the store of this machine alone, and without machines it only takes time to say no.
        let is_usable = directories.store == Path::new(directories.store_dir.as_str())
            && Path::new(MACHINES).exists();
        let guix = is_usable.then(|| programs::find("guix")).flatten();
        let hook = guix.map(|guix| vec![guix.display().to_string(), "offload".to_owned()]);
        return Ok(hook.unwrap_or_default());
    };
    let mut words = chosen.split_whitespace().map(str::to_owned);
    let name = words.next().unwrap_or_default();
    let program = programs::find(&name).ok_or(UnknownHook(name))?;
    let program = std::iter::once(program.display().to_string());
    Ok(program.chain(words).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::store_path::StoreDir;

    #[test]
    fn a_hook_is_a_program_with_its_first_arguments() {
        let store_dir = StoreDir::new("/gnu/store").unwrap();
        let directories = Directories::new(store_dir, Some(Path::new("/no/such/root")));
        let hook = |chosen| build_hook(chosen, &directories);
        assert_eq!(
            hook(Some("/bin/sh -e hook")).unwrap(),
            ["/bin/sh", "-e", "hook"]
        );
        assert!(hook(Some("sh")).unwrap()[0].starts_with('/'));
        for wrong in ["", " ", "/no/such/program offload"] {
            let error = hook(Some(wrong)).unwrap_err().to_string();
            assert!(
                error.starts_with("--build-hook: expected a program, found `"),
                "{error}"
            );
        }
        // Its machines would get a store that is not theirs.
        assert!(hook(None).unwrap().is_empty());
    }
}
