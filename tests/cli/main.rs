//! The command line as people and scripts use it: what is printed where, and the exit status.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;

mod exchange;
mod look;
mod recipes;
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
        let mut command = bootstrap();
        command.arg("--root").arg(self.path("root"));
        command.arg("--recipes").arg(self.path("recipes"));
        command.arg("--seeds").arg(self.path("seeds"));
        command.arg("--seed").arg(seed);
        command.args(arguments).output().unwrap()
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

    fn hide(&self, text: &str) -> String {
        let shown = |path: &Path| path.display().to_string();
        text.replace(&shown(self.0.path()), "WORLD")
    }
}

/// `bootstrap`, as on a machine where nobody has set anything.
fn bootstrap() -> Command {
    let mut command = Command::cargo_bin("bootstrap").unwrap();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BOOTSTRAP_") {
            command.env_remove(name);
        }
    }
    command.env("BOOTSTRAP_CONFIG", "").env_remove("COLUMNS");
    command
}
