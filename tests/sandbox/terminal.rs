// SPDX-License-Identifier: GPL-3.0-or-later
//! What an interactive program gets in place of the user's terminal, and what becomes of that.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bootstrap::sandbox::{GuestRoot, Sandbox};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::ends::part;
use crate::guest::{Guest, pipe};
use crate::pseudo_terminal::terminal;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process whose terminal we are the user of.
struct OnTerminal {
    screen: File,
    theirs: OwnedFd,
    shown: String,
    child: Child,
    before: Termios,
}

impl OnTerminal {
    /// Runs the ignored test `name`, a program for these tests, with a controlling terminal; `pipes` replaces its
    /// standard input and output.
    fn start(name: &str, pipes: Option<(Stdio, Stdio)>) -> Self {
        // They end upon SIGHUP, which `nohup` has them ignore.
        crate::signals::unignore();
        let (screen, theirs) = terminal(80);
        let before = tcgetattr(&theirs).unwrap();
        let stdio = || Stdio::from(theirs.try_clone().unwrap());
        let mut command = part(name);
        let (input, output) = pipes.unwrap_or_else(|| (stdio(), stdio()));
        command.stdin(input).stdout(output).stderr(stdio());
        let controlling = theirs.try_clone().unwrap();
        // SAFETY: the closure makes system calls only.
        unsafe {
            command.pre_exec(move || {
                rustix::process::setsid()?;
                Ok(rustix::process::ioctl_tiocsctty(&controlling)?)
            })
        };
        let child = command.spawn().unwrap();
        Self {
            screen,
            theirs,
            shown: String::new(),
            child,
            before,
        }
    }

    /// Reads what is shown until `text` is there, and forgets it.
    fn see(&mut self, text: &str) -> String {
        let start = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.shown.find(text) {
                return self.shown.drain(..at + text.len()).collect();
            }
            let left = PATIENCE.checked_sub(start.elapsed());
            let left = left.unwrap_or_else(|| panic!("no {text:?} in {:?}", self.shown));
            let mut screen = [PollFd::new(&self.screen, PollFlags::IN)];
            if poll(&mut screen, Some(&left.try_into().unwrap())).unwrap() > 0 {
                let count = self.screen.read(&mut buffer).unwrap();
                self.shown += std::str::from_utf8(&buffer[..count]).unwrap();
            }
        }
    }

    fn type_in(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
    }

    /// Whether the terminal is as it was, not raw.
    fn is_restored(&self) -> bool {
        let now = tcgetattr(&self.theirs).unwrap();
        now.local_modes == self.before.local_modes
            && now.input_modes == self.before.input_modes
            && now.output_modes == self.before.output_modes
    }

    fn is_raw(&self) -> bool {
        let now = tcgetattr(&self.theirs).unwrap().local_modes;
        !now.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for the process, which must end soon.
    fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if start.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("it does not end: {:?}", self.shown);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn ends_well(&mut self) -> bool {
        self.end().success()
    }

    fn kill(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn await_restored(&self) {
        let start = Instant::now();
        while !self.is_restored() {
            assert!(start.elapsed() < PATIENCE, "the terminal is still raw");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Has the probe obey `commands` with our own standard streams.
fn interactive(commands: &[&str]) {
    let mut guest = Guest::new();
    guest.interactive = true;
    let world = guest.world(commands, pipe().1);
    let finished = guest.sandbox.spawn(world).unwrap().wait().unwrap();
    assert!(finished.status.is_success(), "{}", finished.status);
}

#[test]
fn an_interactive_program_has_a_terminal_of_its_own_and_cannot_type_into_the_users() {
    let mut user = OnTerminal::start("terminal::part_with_a_terminal", None);
    let theirs = user.see("after: ours\r\n");
    assert!(theirs.contains("parent 1 session 1"), "{theirs}");
    assert!(theirs.contains("terminal: 1 controlling"), "{theirs}");
    assert!(theirs.contains("take-terminal: ok"), "{theirs}");
    assert!(theirs.contains("type-in: EPERM"), "{theirs}");
    // Not only the filter is in the way: standard input is another terminal.
    let device = File::from(user.theirs.try_clone().unwrap())
        .metadata()
        .unwrap()
        .rdev();
    assert!(
        theirs.contains("device: ") && !theirs.contains(&format!("device: {device:x}\r")),
        "{theirs}"
    );
    assert!(user.ends_well());
    assert!(user.is_restored());
    assert_eq!(rustix::io::ioctl_fionread(user.theirs.as_fd()).unwrap(), 0);
}

#[test]
#[ignore = "what another test runs in a terminal"]
fn part_with_a_terminal() {
    interactive(&[
        "processes",
        "terminal",
        "take-terminal",
        "device",
        "type-in x",
    ]);
    let foreground = rustix::termios::tcgetpgrp(std::io::stdin()).unwrap();
    assert_eq!(foreground, rustix::process::getpgrp());
    println!("after: ours");
}

#[test]
fn typed_lines_interrupts_and_window_sizes_reach_the_program() {
    let mut user = OnTerminal::start("terminal::part_that_waits_for_the_user", None);
    user.see("line?");
    assert!(user.is_raw());
    user.type_in("hello\r");
    user.see("line: hello");
    user.see("size: 80 x 24");
    user.see("waiting");
    let size = Winsize {
        ws_row: 30,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&user.screen, size).unwrap();
    user.see("size: 100 x 30");
    user.see("waiting");
    user.type_in("\x03");
    user.see("interrupted");
    assert!(user.ends_well());
    assert!(user.is_restored());
}

#[test]
#[ignore = "what another test runs in a terminal"]
fn part_that_waits_for_the_user() {
    interactive(&["line", "await-size", "await-interrupt"]);
}

#[test]
fn a_shell_has_job_control() {
    if !Path::new("/bin/bash").exists() {
        panic!("this test needs /bin/bash");
    }
    let mut user = OnTerminal::start("terminal::part_with_a_shell", None);
    user.see("ready$ ");
    user.type_in("sleep 1000\r");
    user.see("sleep 1000");
    // The shell gives the terminal to the program a moment after it echoes the line.
    std::thread::sleep(Duration::from_millis(500));
    user.type_in("\x1a");
    user.see("Stopped");
    user.see("ready$ ");
    user.type_in("kill %1; exit 0\r");
    user.see("exit");
    user.type_in("exit 0\r");
    assert!(user.ends_well());
    assert!(user.is_restored());
}

#[test]
#[ignore = "what another test runs in a terminal"]
fn part_with_a_shell() {
    let mut guest = Guest::new();
    guest.root = GuestRoot::Tree("/".into());
    guest.program = "/bin/bash".to_owned();
    guest.interactive = true;
    guest.environment = [("PS1", "ready$ ")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let world = guest.world(&["--norc", "--noprofile", "-i"], pipe().1);
    assert!(
        guest
            .sandbox
            .spawn(world)
            .unwrap()
            .wait()
            .unwrap()
            .status
            .is_success()
    );
}

#[test]
fn the_users_terminal_is_restored_however_the_run_ends() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::KILL] {
        let mut user = OnTerminal::start("terminal::part_that_waits_for_the_user", None);
        user.see("line?");
        assert!(user.is_raw());
        user.kill(signal);
        user.end();
        user.await_restored();
    }
    // Killed, the helper cannot: the run does.
    let mut user = OnTerminal::start("terminal::part_whose_helper_is_killed", None);
    user.see("line?");
    assert!(user.is_raw());
    let threads = format!("/proc/{}/task", user.child.id());
    let helper: i32 = std::fs::read_dir(threads)
        .unwrap()
        .map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap())
        .find_map(|children| children.trim().parse().ok())
        .unwrap();
    kill_process(Pid::from_raw(helper).unwrap(), Signal::KILL).unwrap();
    user.see("signal 9");
    assert!(user.ends_well());
    assert!(user.is_restored());
}

#[test]
#[ignore = "what another test runs in a terminal"]
fn part_whose_helper_is_killed() {
    let mut guest = Guest::new();
    guest.interactive = true;
    let world = guest.world(&["line"], pipe().1);
    println!(
        "{}",
        guest.sandbox.spawn(world).unwrap().wait().unwrap_err()
    );
}

#[test]
fn pipes_are_the_programs_as_they_are_and_no_terminal_comes_with_them() {
    let (input, to_program) = pipe();
    let (mut from_program, output) = pipe();
    let pipes = Some((Stdio::from(input), Stdio::from(output)));
    let mut user = OnTerminal::start("terminal::part_with_pipes", pipes);
    assert!(!user.is_raw());
    File::from(to_program).write_all(b"from a pipe\n").unwrap();
    let mut text = String::new();
    from_program.read_to_string(&mut text).unwrap();
    assert!(user.ends_well(), "{text}");
    assert!(text.contains("line: from a pipe\n"), "{text}");
    assert!(text.contains("terminal: 0 controlling\n"), "{text}");
    assert!(user.is_restored());
    // With pipes alone there is none at all.
    let mut command: Command = part("terminal::part_with_pipes");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("line: none\n"), "{text}");
    assert!(text.contains("terminal: 0 none\n"), "{text}");
}

#[test]
#[ignore = "what another test runs with pipes"]
fn part_with_pipes() {
    interactive(&["line", "terminal"]);
}
