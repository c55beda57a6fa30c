// SPDX-License-Identifier: GPL-3.0-or-later
//! What is in the sandbox, and what is not.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use bootstrap::sandbox::{BuildUser, GuestRoot, Sandbox, SandboxError, SandboxStep};

use crate::guest::{Guest, pipe};

#[test]
fn an_empty_root_holds_nothing_but_inputs_and_essentials() {
    let output = Guest::new().ask(&[
        "ls /",
        "ls /gnu",
        "ls /gnu/store",
        "ls /gnu/store/probe-1.0",
        "ls /dev",
        "ls /etc",
        "ls /tmp",
        "cat /etc/passwd",
        "cat /etc/group",
        "cat /etc/hosts",
        "readlink /dev/fd",
        "readlink /dev/stdout",
    ]);
    assert_eq!(
        output,
        "/: dev etc gnu proc tmp\n\
         /gnu: store\n\
         /gnu/store: probe-1.0\n\
         /gnu/store/probe-1.0: probe text\n\
         /dev: fd full null ptmx pts random shm stderr stdin stdout urandom zero\n\
         /etc: group hosts passwd\n\
         /tmp: guix-build-x.drv-0\n\
         nixbld:x:30001:30000:Nix build user:/:/noshell\n\
         nobody:x:65534:65534:Nobody:/:/noshell\n\
         nixbld:!:30000:\n\
         127.0.0.1 localhost\n\
         ::1 localhost\n\
         /dev/fd -> /proc/self/fd\n\
         /dev/stdout -> /proc/self/fd/1\n"
    );
}

#[test]
fn a_tree_is_the_root_but_for_the_sandbox_s_own_directories() {
    let mut guest = Guest::new();
    let seed = guest.path("seed");
    for directory in ["usr/bin", "etc", "dev", "tmp", "var/empty"] {
        fs::create_dir_all(seed.join(directory)).unwrap();
    }
    fs::write(seed.join("etc/secret"), "not for builds").unwrap();
    fs::write(seed.join("COPYRIGHT"), "text\n").unwrap();
    fs::copy(crate::guest::probe(), seed.join("usr/bin/probe")).unwrap();
    symlink("usr/bin", seed.join("bin")).unwrap();
    for writable in ["usr", "var/empty", "COPYRIGHT"] {
        fs::set_permissions(seed.join(writable), PermissionsExt::from_mode(0o777)).unwrap();
    }
    guest.root = GuestRoot::Tree(seed);
    guest.program = "/bin/probe".to_owned();
    let output = guest.ask(&[
        "ls /",
        "ls /etc",
        "ls /tmp",
        "ls /usr/bin",
        "readlink /bin",
        "cat /COPYRIGHT",
        "write /usr/new",
        "write /var/empty/new",
        "append /COPYRIGHT",
        "unlink /bin",
    ]);
    assert_eq!(
        output,
        "/: COPYRIGHT bin dev etc gnu proc tmp usr var\n\
         /etc: group hosts passwd\n\
         /tmp: guix-build-x.drv-0\n\
         /usr/bin: probe\n\
         /bin -> usr/bin\n\
         text\n\
         /usr/new: EROFS\n\
         /var/empty/new: EROFS\n\
         /COPYRIGHT: EROFS\n\
         /bin: EROFS\n"
    );
}

#[test]
fn a_whole_system_with_mounts_of_its_own_can_be_the_root() {
    let mut guest = Guest::new();
    guest.root = GuestRoot::Tree("/".into());
    guest.program = "/bin/sh".to_owned();
    let output = guest.ask(&["-c", "(: >/usr/new) 2>/dev/null || expr 1 + 1"]);
    assert_eq!(output, "2\n");
}

#[test]
fn only_the_store_the_build_directory_and_tmp_can_be_written() {
    let mut guest = Guest::new();
    let output = guest.ask(&[
        "write /gnu/store/output",
        "write /tmp/guix-build-x.drv-0/file",
        "write /tmp/file",
        "write /dev/shm/file",
        "append /dev/null",
        "write /file",
        "write /gnu/file",
        "write /etc/file",
        "append /etc/passwd",
        "chmod /etc/passwd",
        "write /dev/file",
        "chmod /dev/null",
        "mkdir /homeless-shelter",
        "append /gnu/store/probe-1.0/text",
        "write /gnu/store/probe-1.0/new",
        "chmod /gnu/store/probe-1.0",
        "append /proc/sys/kernel/hostname",
    ]);
    assert_eq!(
        output,
        "/gnu/store/output: ok\n\
         /tmp/guix-build-x.drv-0/file: ok\n\
         /tmp/file: ok\n\
         /dev/shm/file: ok\n\
         /dev/null: ok\n\
         /file: EROFS\n\
         /gnu/file: EROFS\n\
         /etc/file: EROFS\n\
         /etc/passwd: EROFS\n\
         /etc/passwd: EROFS\n\
         /dev/file: EROFS\n\
         /dev/null: EROFS\n\
         /homeless-shelter: EROFS\n\
         /gnu/store/probe-1.0/text: EROFS\n\
         /gnu/store/probe-1.0/new: EROFS\n\
         /gnu/store/probe-1.0: EROFS\n\
         /proc/sys/kernel/hostname: EACCES\n"
    );
    // The same on a kernel that has no mount_setattr.
    let mut old = Guest::new();
    old.sandbox = old.sandbox.clone().as_on_old_kernels();
    let output = old.ask(&[
        "write /gnu/store/output",
        "write /file",
        "append /etc/passwd",
        "chmod /dev/null",
        "append /gnu/store/probe-1.0/text",
        "append /dev/null",
    ]);
    assert_eq!(
        output,
        "/gnu/store/output: ok\n\
         /file: EROFS\n\
         /etc/passwd: EROFS\n\
         /dev/null: EROFS\n\
         /gnu/store/probe-1.0/text: EROFS\n\
         /dev/null: ok\n"
    );
    // What was written outside belongs to whom the build is outside, and is where it should be.
    let (uid, gid) = guest.sandbox.outside(&BuildUser::default());
    for name in ["chroot/output", "build/file"] {
        let written = fs::metadata(guest.path(name)).unwrap();
        assert_eq!((written.uid(), written.gid()), (uid, gid), "{name}");
        assert_eq!(written.mode() & 0o7777, 0o644, "{name}");
    }
    // Root's builds have a number that no account of this machine has, and no other run.
    if rustix::process::geteuid().is_root() {
        assert_eq!(uid, 2_001_000_000 + std::process::id());
    }
}

#[test]
fn an_input_may_be_a_file_or_a_link() {
    let mut guest = Guest::new();
    let (file, link) = (guest.path("file"), guest.path("link"));
    fs::write(&file, "a file\n").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    symlink("file-1", &link).unwrap();
    guest.mount(&file, "/gnu/store/file-1", false);
    guest.mount(&link, "/gnu/store/link-1", false);
    let output = guest.ask(&[
        "cat /gnu/store/file-1",
        "readlink /gnu/store/link-1",
        "cat /gnu/store/link-1",
        "append /gnu/store/file-1",
    ]);
    assert_eq!(
        output,
        "a file\n/gnu/store/link-1 -> file-1\na file\n/gnu/store/file-1: EROFS\n"
    );
}

#[test]
fn a_link_left_in_the_store_directory_leads_no_mount_out_of_the_sandbox() {
    let mut guest = Guest::new();
    let (outside, file) = (guest.path("outside"), guest.path("file"));
    fs::create_dir(&outside).unwrap();
    fs::write(&file, "a file\n").unwrap();
    guest.mount(&file, "/gnu/store/file-1", false);
    for (name, target) in [
        ("file-1", Path::new("/etc/passwd")),
        ("probe-1.0", &*outside),
        // Unlike the machine's directory, this one is in the sandbox, too.
        ("probe-1.0", Path::new("/tmp")),
    ] {
        let link = guest.path("chroot").join(name);
        symlink(target, &link).unwrap();
        match guest.try_run(&["ls /"]) {
            Err(SandboxError::Setup { step, path, .. }) => {
                assert_eq!(step, SandboxStep::MakeEntry);
                assert_eq!(path.unwrap(), Path::new("/gnu/store").join(name));
            }
            Err(error) => panic!("{error}"),
            Ok(answer) => panic!("{}: {}", target.display(), answer.output),
        }
        fs::remove_file(link).unwrap();
    }
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn the_program_is_the_build_user_without_privileges_and_not_the_first_process() {
    let output = Guest::new().ask(&[
        "processes",
        "ids",
        "status Cap",
        "status NoNewPrivs",
        "status SigIgn",
        "status SigBlk",
        "become-root",
        "new-user-namespace",
        "kill 1",
        "trace 1",
        "readlink /proc/1/exe",
        "ls /proc/1/fd",
        "stat /tmp/guix-build-x.drv-0",
    ]);
    let mut lines = output.lines();
    let first = lines.next().unwrap();
    assert!(first.ends_with("parent 1 session 1"), "{first}");
    // A caller without privileges cannot leave its groups: they are there, without names or use.
    let ids = lines.next().unwrap();
    assert!(ids.starts_with("ids: 30001 30001 30000 30000 "), "{ids}");
    if rustix::process::geteuid().is_root() {
        assert!(ids.ends_with("groups 30000"), "{ids}");
    }
    let none = "0000000000000000";
    let rest: Vec<_> = lines.collect();
    assert_eq!(
        rest.join("\n"),
        format!(
            "CapInh:\t{none}\nCapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t{none}\nCapAmb:\t{none}\n\
             NoNewPrivs:\t1\nSigIgn:\t{none}\nSigBlk:\t{none}\n\
             become-root: EINVAL\n\
             new-user-namespace: EPERM\n\
             kill: ok\n\
             trace: EPERM\n\
             /proc/1/exe: EACCES\n\
             /proc/1/fd: EACCES\n\
             /tmp/guix-build-x.drv-0: 40755 30001 30000"
        )
    );
}

#[test]
fn environment_arguments_and_descriptors_are_exactly_those_given() {
    let mut guest = Guest::new();
    guest.environment = [
        ("HOME", "/homeless-shelter"),
        ("TWO", "lines\nof text"),
        ("ZERO", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let ((mut first, to_first), (mut second, to_second)) = (pipe(), pipe());
    guest.descriptors = vec![(to_first, 4), (to_second, 3)];
    // One that is not marked to close.
    let forgotten = File::open("/").unwrap();
    let unmarked = rustix::io::dup(&forgotten).unwrap();
    let output = guest.ask(&[
        "descriptors",
        "environment",
        "cwd",
        "umask",
        "say-to 4 four",
        "say-to 3 three",
        "read",
    ]);
    drop(unmarked);
    assert_eq!(
        output,
        "descriptors: 0 1 2 3 4\n\
         HOME=/homeless-shelter\nTWO=lines\nof text\nZERO=\n\
         cwd: /tmp/guix-build-x.drv-0\n\
         umask: 22\n\
         4: ok\n3: ok\n\
         read: 0\n"
    );
    let (mut four, mut three) = (String::new(), String::new());
    first.read_to_string(&mut four).unwrap();
    second.read_to_string(&mut three).unwrap();
    assert_eq!((four.as_str(), three.as_str()), ("four", "three"));
}

#[test]
fn there_is_no_network_but_a_loopback_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("connect 127.0.0.1 {port}");
    let commands = [&connect, "connect 192.0.2.1 80", "loopback", "interfaces"];
    let output = Guest::new().ask(&commands);
    assert_eq!(
        output,
        "connect: ECONNREFUSED\nconnect: ENETUNREACH\nloopback: ok\n\
         /proc/sys/net/ipv4/conf: all default lo\n"
    );
    // And with the network it would have reached the listener: the test can fail.
    let mut guest = Guest::new();
    guest.network = true;
    assert_eq!(guest.ask(&[&connect]), "connect: ok\n");
}

#[test]
fn with_the_network_come_the_machines_files_about_it() {
    let files = ["resolv.conf", "nsswitch.conf", "services", "hosts"];
    let commands: Vec<String> = files
        .iter()
        .map(|name| format!("cat /etc/{name}"))
        .collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let mut guest = Guest::new();
    guest.network = true;
    let expected: String = files
        .iter()
        .map(|name| match fs::read_to_string(format!("/etc/{name}")) {
            Ok(contents) => contents,
            Err(_) => format!("/etc/{name}: ENOENT\n"),
        })
        .collect();
    assert_eq!(guest.ask(&commands), expected);
    assert!(
        Guest::new()
            .ask(&["ls /etc"])
            .ends_with("group hosts passwd\n")
    );
}

#[test]
fn host_name_and_addresses_are_always_the_same() {
    let commands = ["hostname", "addresses", "status NStgid"];
    let output = Guest::new().ask(&commands);
    assert!(
        output.starts_with("hostname: localhost (none)\n"),
        "{output}"
    );
    for _ in 0..3 {
        assert_eq!(Guest::new().ask(&commands), output);
    }
}

#[test]
fn pseudo_terminals_work_and_are_the_sandbox_s_own() {
    let output = Guest::new().ask(&["ls /dev/pts", "new-terminal", "terminal"]);
    assert_eq!(
        output,
        "/dev/pts: ptmx\nnew-terminal: ok\nterminal: 0 none\n"
    );
}

#[test]
fn a_missing_source_is_named_before_anything_runs() {
    let mut guest = Guest::new();
    let missing = guest.path("missing");
    guest.mount(&missing, "/gnu/store/missing", false);
    let error = guest.start(&[]).err().unwrap().to_string();
    assert!(error.contains(missing.to_str().unwrap()), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_an_error_of_its_own() {
    let mut guest = Guest::new();
    guest.program = "/bin/sh".to_owned();
    let error = guest.try_run(&[]).err().unwrap();
    assert!(matches!(error, SandboxError::Program { .. }), "{error}");
    assert!(!error.is_environment());
    let text = error.to_string();
    assert!(text.contains("`/bin/sh`"), "{text}");
    let hint = bootstrap::diagnostics::help_of(&error);
    assert!(hint.contains("to the inputs"), "{hint}");
}
