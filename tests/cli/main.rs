// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line as users and scripts use it: what is printed where, and the exit status.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{self, Output, Stdio};

use assert_cmd::Command;

mod doctor;
mod endless_files;
mod exchange;
mod inherited;
mod inspect;
mod install;
#[path = "../pseudo_terminal/mod.rs"]
mod pseudo_terminal;
mod recipes;
mod report;
#[path = "../server/mod.rs"]
mod server;
mod settings;
#[path = "../signals/mod.rs"]
mod signals;
#[path = "../small/mod.rs"]
mod small;
mod terminal;
mod usage;

const HASH: &str = "e05fdde47c5f7ca45cb697e973894ff4f5d79e13b750ed57d7b66d8defc78e19";

/// A machine of its own: store, recipes and seeds in one temporary directory.
struct World(tempfile::TempDir);

impl World {
    /// No recipes, and one seed for each system.
    fn empty() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        for kernel in ["linux", "freebsd"] {
            let (name, system) = (format!("small-{kernel}"), format!("x86_64-{kernel}"));
            world.file(
                &format!("seeds/{name}.toml"),
                &format!(
                    "name = \"{name}\"\nsystem = \"{system}\"\nkind = \"archive\"\n\
                     url = \"https://127.0.0.1:9/base.txz\"\nsha256 = \"{HASH}\"\nsource-variant = \"upstream\"\n\
                     shell = \"/bin/sh\"\nsearch-path = [\"/bin\"]\n"
                ),
            );
        }
        world.file("stage0/gnu-build-system.sh", ": phases\n");
        world
    }

    /// A short road: make and bash in stage0, libc, and a tool of either stage.
    fn with_recipes() -> Self {
        let world = Self::empty();
        world.recipe("make", "[stage0]\n");
        world.recipe("bash", "[stage0]\n");
        world.recipe("libc", "[libc]\noutputs = [\"out\", \"static\"]\n");
        world.recipe(
            "tool",
            "[final]\nreplace-inputs = [\"libc\", \"libc:static\", \"stage0/make\"]\nconfigure-flags = [\"--x=$out\"]\n\
             tests = false\ntests-reason = \"they need a network\"\n",
        );
        world
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn file(&self, path: &str, contents: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    fn recipe(&self, name: &str, rest: &str) {
        self.file(
            &format!("recipes/{name}/recipe.toml"),
            &format!(
                "name = \"{name}\"\nversion = \"1.0\"\nsynopsis = \"The {name} of the test\"\n\
                 home-page = \"https://example.org/\"\nlicense = \"GPL-3.0-or-later\"\n\n\
                 [source.upstream]\nfile = \"{name}-1.0.tar.gz\"\nsha256 = \"{HASH}\"\n\
                 urls = [\"https://127.0.0.1:9/{name}-1.0.tar.gz\"]\n{rest}"
            ),
        );
    }

    /// `bootstrap` with `arguments` in this world.
    fn run(&self, arguments: &[&str]) -> Output {
        self.run_from("small-linux", arguments)
    }

    fn run_from(&self, seed: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(seed);
        command.args(arguments).stdin(Stdio::null());
        command.output().unwrap()
    }

    fn command(&self, seed: &str) -> process::Command {
        let mut command = plain_bootstrap();
        command.arg("--root").arg(self.path("root"));
        command.arg("--recipes").arg(self.path("recipes"));
        command.arg("--seeds").arg(self.path("seeds"));
        command.arg("--seed").arg(seed);
        // Else what no named place has would be searched in the real indexes of Debian, for half a minute.
        command.env("BOOTSTRAP_MIRRORS", "debian=none by-hash=none");
        command
    }

    /// Standard output and standard error of a run that must end with `status`, without the paths that differ
    /// from run to run.
    fn expect(&self, status: i32, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| self.hide(&String::from_utf8_lossy(bytes));
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}\n{out}\n{err}"
        );
        (out, err)
    }

    /// Replaces `from` by `to` in every recipe and seed.
    fn replace(&self, from: &str, to: &str) {
        for part in ["recipes", "seeds"] {
            let mut open = vec![self.path(part)];
            while let Some(path) = open.pop() {
                if path.is_dir() {
                    open.extend(
                        std::fs::read_dir(path)
                            .unwrap()
                            .map(|entry| entry.unwrap().path()),
                    );
                } else {
                    let text = std::fs::read_to_string(&path).unwrap();
                    std::fs::write(&path, text.replace(from, to)).unwrap();
                }
            }
        }
    }

    /// How messages name `bootstrap` with `arguments` in this world.
    fn command_line(&self, arguments: &str) -> String {
        format!(
            "`bootstrap --seed small-linux --root WORLD/root --recipes WORLD/recipes --seeds WORLD/seeds {arguments}`"
        )
    }

    fn hide(&self, text: &str) -> String {
        let shown = |path: &Path| path.display().to_string();
        text.replace(&shown(self.0.path()), "WORLD")
    }
}

/// `bootstrap`, as on a machine without any settings.
fn bootstrap() -> Command {
    Command::from_std(plain_bootstrap())
}

/// The same for tests that connect it with something of their own.
fn plain_bootstrap() -> process::Command {
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_bootstrap"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        if text.starts_with("bootstrap_") || text.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.env("BOOTSTRAP_CONFIG", "");
    for name in ["COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}
