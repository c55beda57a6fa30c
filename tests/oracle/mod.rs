// SPDX-License-Identifier: GPL-3.0-or-later
//! Debian's `nix-bin` as an oracle: it computes Guix's formats when its store directory is `/gnu/store`.
//!
//! Each [`Oracle`] is a Nix of its own in a temporary directory: *logical* store `/gnu/store`, physical store, database
//! and logs in the directory. Nothing outside is read or written, no daemon, no network.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bootstrap::formats::store_path::{StoreDir, StorePath};
use tempfile::TempDir;

pub struct Oracle {
    directory: TempDir,
}

#[allow(dead_code, reason = "each test program uses a part")]
impl Oracle {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["etc", "log", "state", "home"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let settings = "build-users-group =\nsandbox = false\nsubstitute = false\n";
        fs::write(directory.path().join("etc/nix.conf"), settings).unwrap();
        Self { directory }
    }

    /// A place for the test's own files.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The standard output of one of Nix's programs, which must succeed.
    pub fn run(&self, program: &str, arguments: &[impl AsRef<OsStr>]) -> Vec<u8> {
        let (success, output, errors) = self.try_run(program, arguments);
        assert!(success, "{program} failed: {errors}");
        output
    }

    /// Whether one of Nix's programs succeeds, and what it prints and complains about.
    pub fn try_run(
        &self,
        program: &str,
        arguments: &[impl AsRef<OsStr>],
    ) -> (bool, Vec<u8>, String) {
        let place = |name: &str| self.directory.path().join(name);
        let root = self.directory.path().display();
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", place("home"))
            .env("NIX_STORE_DIR", "/gnu/store")
            .env("NIX_STATE_DIR", place("state"))
            .env("NIX_LOG_DIR", place("log"))
            .env("NIX_CONF_DIR", place("etc"))
            .env(
                "NIX_REMOTE",
                format!("local?root={root}&store=/gnu/store&real={root}/store"),
            )
            .current_dir(self.directory.path())
            .output();
        match output {
            Ok(output) => (
                output.status.success(),
                output.stdout,
                String::from_utf8_lossy(&output.stderr).into_owned(),
            ),
            Err(error) => panic!(
                "cannot run {program}: {error}. The oracle tests compare with Nix 2.8 or later: \
                 install it with `apt-get install nix-bin`."
            ),
        }
    }

    /// The lines that a program prints.
    pub fn lines(&self, program: &str, arguments: &[impl AsRef<OsStr>]) -> Vec<String> {
        let output = String::from_utf8(self.run(program, arguments)).unwrap();
        output.lines().map(str::to_owned).collect()
    }

    /// Instantiates the Nix expression `text`; the `.drv` paths it prints.
    pub fn instantiate(&self, text: &str) -> Vec<StorePath> {
        let file = self.scratch("expression.nix");
        fs::write(&file, text).unwrap();
        let lines = self.lines("nix-instantiate", &[file]);
        let paths = lines.iter().map(|line| store_dir().parse(line).unwrap());
        paths.collect()
    }

    /// The bytes of the store file `path`.
    pub fn read(&self, path: &StorePath) -> Vec<u8> {
        fs::read(self.physical(path)).unwrap()
    }

    /// Where the store item `path` is on disk.
    pub fn physical(&self, path: &StorePath) -> PathBuf {
        self.directory.path().join("store").join(path.base_name())
    }

    /// Adds `file` as the store item `path`, as if another store had exported it.
    pub fn import(&self, path: &StorePath, file: &Path, references: &[StorePath]) {
        let mut export = Vec::new();
        let string = |bytes: &[u8]| {
            let length = bytes.len() as u64;
            let zeros = length.next_multiple_of(8) - length;
            [&length.to_le_bytes(), bytes, &[0; 8][..zeros as usize]].concat()
        };
        export.extend(1u64.to_le_bytes());
        bootstrap::store::nar::dump(file, &mut export).unwrap();
        export.extend(0x4558_494e_u64.to_le_bytes());
        export.extend(string(store_dir().display(path).as_bytes()));
        export.extend((references.len() as u64).to_le_bytes());
        for reference in references {
            export.extend(string(store_dir().display(reference).as_bytes()));
        }
        // No deriver, no signature, nothing more.
        export.extend(string(b""));
        export.extend(0u64.to_le_bytes());
        export.extend(0u64.to_le_bytes());
        let export_file = self.scratch("export");
        fs::write(&export_file, export).unwrap();
        let script = "exec nix-store --import < \"$0\"";
        self.run(
            "sh",
            &["-c".as_ref(), script.as_ref(), export_file.as_os_str()],
        );
    }

    /// All `.drv` files in the store.
    pub fn derivations(&self) -> Vec<StorePath> {
        let entries = fs::read_dir(self.directory.path().join("store")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter_map(|name| StorePath::from_base_name(&name).ok())
            .filter(StorePath::is_derivation)
            .collect()
    }
}

pub fn store_dir() -> StoreDir {
    StoreDir::new("/gnu/store").unwrap()
}

#[allow(dead_code, reason = "each test program uses a part")]
pub fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
