// SPDX-License-Identifier: GPL-3.0-or-later
//! A small file system, for tests of what becomes of a full one.

use std::path::Path;
use std::process::Command;

/// Tells the process that a test starts where its small file system is.
const PLACE: &str = "BOOTSTRAP_TEST_SMALL_DISK";

/// A shell that runs `script` as root of a private mount namespace, which ends with its processes:
/// who is not root becomes root of a user namespace, as builds do. The arguments that follow are `$0` and on.
pub fn mounting(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.arg(match rustix::process::geteuid().is_root() {
        true => "-m",
        false => "-Urm",
    });
    command.args(["sh", "-euc", script]);
    command
}

/// Runs `body`, the test called `test` (with its module), with a directory that is a file system of 16 MiB and 2000
/// files.
///
/// The test's program runs itself again where that is [mounted](mounting), for this one test. A machine that does not
/// allow it fails the test; it could not build either.
pub fn on_small_disk(test: &str, body: impl FnOnce(&Path)) {
    if let Some(place) = std::env::var_os(PLACE) {
        return body(Path::new(&place));
    }
    let place = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=16m,nr_inodes=2000,mode=755 tmpfs \"$0\"; exec \"$@\"";
    let output = mounting(script)
        .arg(place.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PLACE, place.path())
        .output()
        .expect("these tests need util-linux");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(
        out.contains("1 passed"),
        "no test is called {test}: {out}\n{err}"
    );
}
