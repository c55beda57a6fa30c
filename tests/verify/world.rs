// SPDX-License-Identifier: GPL-3.0-or-later
//! A road of a few tiny packages on two tiny seeds, with the real sandbox and the real command line.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;

use bootstrap::formats::hash::Sha256Digest;
use bootstrap::store::remove::remove_tree;

/// The builder, compiled once.
fn builder() -> &'static [u8] {
    static BUILDER: OnceLock<Vec<u8>> = OnceLock::new();
    BUILDER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify/builder.c");
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("builder");
        let compiled = Command::new("cc")
            .args(["-static", "-O1", "-Wall", "-Wextra", "-s", "-o"])
            .args([&program, &source])
            .status()
            .expect("these tests need a C compiler");
        assert!(compiled.success(), "cc -static failed");
        std::fs::read(&program).unwrap()
    })
}

/// A machine of its own; goes with all its read-only directories.
pub struct World(PathBuf);

impl Drop for World {
    fn drop(&mut self) {
        let _ = remove_tree(&self.0);
    }
}

impl World {
    pub fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap().keep())
    }

    /// One in the directory `place`.
    pub fn at(place: PathBuf) -> Self {
        let world = Self(place);
        // Every world has store paths of its own: what a process of another test uses, or has in its environment, would
        // be spared here.
        let name = world.0.display().to_string();
        world.seed("one", &format!("first of {name}"));
        world.seed("two", &format!("second of {name}"));
        world.file(
            "stage0/gnu-build-system.sh",
            &format!(": phases of {name}\n"),
        );
        // A recipe has to have a source.
        world.file("stage0/nothing/nothing", &name);
        world.recipe("make", "[stage0]\n", "write $out make 1.0\n");
        world.recipe(
            "bash",
            "[stage0]\n\n[final]\nreplace-inputs = [\"libc\", \"stage0/make\", \"stage0/bash\"]\n",
            // The program is its own shell, in the seed and after it.
            "mkdir $out\nmkdir $out/bin\ncopy /proc/self/exe $out/bin/bash\n",
        );
        world.recipe(
            "libc",
            "[libc]\noutputs = [\"out\", \"static\"]\n",
            "write $out libc\nwrite $static libc.a\n",
        );
        world.tool("tool", "write $out/tool a tool in $out for $input_libc\n");
        world
    }

    /// A final package whose build does what `phases` say once there is `$out`.
    pub fn tool(&self, name: &str, phases: &str) {
        self.recipe(
            name,
            "[final]\nreplace-inputs = [\"bash\", \"libc\", \"stage0/make\"]\n",
            &format!("mkdir $out\n{phases}"),
        );
    }

    /// A seed whose archive holds the builder and a file with `content`; the archive is in the cache.
    fn seed(&self, name: &str, content: &str) {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, mode: u32, data: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(mode);
            archive.append_data(&mut header, path, data).unwrap();
        };
        add("bin/sh", 0o755, builder());
        add("share/name", 0o644, content.as_bytes());
        let archive = archive.into_inner().unwrap();
        let sha256 = Sha256Digest::of(&archive);
        let place = self.path(&format!("root/var/cache/bootstrap/files/{sha256}"));
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, &archive).unwrap();
        self.file(
            &format!("seeds/{name}.toml"),
            &format!(
                "name = \"{name}\"\nsystem = \"x86_64-linux\"\nkind = \"archive\"\n\
                 url = \"https://127.0.0.1:9/{name}.tar\"\nsha256 = \"{sha256}\"\nsource-variant = \"upstream\"\n\
                 shell = \"/bin/sh\"\nsearch-path = [\"/bin\"]\n"
            ),
        );
    }

    /// The store's database.
    pub fn database(&self) -> rusqlite::Connection {
        let database = rusqlite::Connection::open(self.path("root/var/guix/db/db.sqlite")).unwrap();
        // As every user of the schema has it.
        database.pragma_update(None, "foreign_keys", true).unwrap();
        database
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub fn file(&self, path: &str, contents: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    pub fn recipe(&self, name: &str, rest: &str, phases: &str) {
        self.file(
            &format!("recipes/{name}/recipe.toml"),
            &format!(
                "name = \"{name}\"\nversion = \"1.0\"\nsynopsis = \"The {name} of the test\"\n\
                 home-page = \"https://example.org/\"\nlicense = \"GPL-3.0-or-later\"\n\
                 local-source = \"nothing\"\n\n{rest}"
            ),
        );
        let place = self.0.display();
        // Last, so that messages about the others name their lines.
        let phases = format!("{phases}# of {place}\n");
        self.file(&format!("recipes/{name}/phases.sh"), &phases);
    }

    /// The command, with what is the same for all.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        command.env_remove("BOOTSTRAP_ROOT");
        command.arg("--root").arg(self.path("root"));
        command.arg("--recipes").arg(self.path("recipes"));
        command.arg("--seeds").arg(self.path("seeds"));
        command.arg("--offline");
        if !arguments.contains(&"--seed") {
            command.args(["--seed", "one"]);
        }
        command.args(arguments);
        command.current_dir(&self.0);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output and standard error of a run that must end with `status`.
    pub fn expect(&self, status: i32, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}\n{out}\n{err}"
        );
        (out, err)
    }

    /// Collects garbage again and again while a command runs: how it ended, and how often that was.
    pub fn collect_beside(&self, arguments: &[&str]) -> (ExitStatus, usize) {
        // A collector has its record on the disk before it removes anything. What others have written, compilers above
        // all, would have to get there first, for as long as the command may run.
        rustix::fs::sync();
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let mut collections = 0;
        loop {
            self.expect(0, &["gc"]);
            collections += 1;
            if let Some(status) = child.try_wait().unwrap() {
                return (status, collections);
            }
        }
    }

    /// Where the output `out` of a package is on disk.
    pub fn place(&self, package: &str) -> PathBuf {
        let (out, _) = self.expect(0, &["path", package]);
        let logical = out.lines().next().unwrap();
        self.path(&format!("root{logical}"))
    }
}
