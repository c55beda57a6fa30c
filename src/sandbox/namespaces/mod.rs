//! Linux's sandbox: namespaces, entered by a helper process that is our own binary executed again.
//!
//! Three processes carry a build: the *helper*, outside, which watches; the sandbox's *first process*, which
//! sets up the world and reaps; and the *program*. No process with threads is ever forked, and what the helper
//! is told goes over a socket, so that there is nothing to see in its arguments. See `init_main`'s module for
//! who ends when.
//!
//! No privileges are needed where the system lets users make user namespaces. Root gets builds that run as the
//! build user outside, too; anyone else's run as the caller, who inside has the build user's number.
//!
//! Needs Linux 5.2 (2019), and is at its best from 5.12 on.

mod init;
mod mounts;
mod program;
mod protocol;
mod remedies;
mod system;

use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{Message, Specification};

use super::layout::{Item, Sources, layout};
use super::{
    BuildUser, ExitStatusKind, Finished, INIT_ARGUMENT, Limits, Running, Sandbox, SandboxError,
    World,
};

/// The Linux backend.
#[derive(Debug, Clone)]
pub struct Namespaces {
    helper: PathBuf,
    old_kernel: bool,
}

impl Default for Namespaces {
    /// Executes this process's own binary, even when its file has been replaced meanwhile.
    fn default() -> Self {
        Self::new("/proc/self/exe")
    }
}

impl Namespaces {
    /// Executes `helper`, a binary that calls [`init_main`](super::init_main) for its first argument.
    pub fn new(helper: impl Into<PathBuf>) -> Self {
        Self {
            helper: helper.into(),
            old_kernel: false,
        }
    }

    /// Uses nothing newer than Linux 5.2; for tests of that way.
    #[doc(hidden)]
    pub fn as_on_old_kernels(mut self) -> Self {
        self.old_kernel = true;
        self
    }

    /// Starts the helper and tells it `specification`.
    fn start(
        &self,
        specification: Specification,
        descriptors: &[BorrowedFd<'_>],
        output: Option<OwnedFd>,
    ) -> Result<Helped, SandboxError> {
        let failed = |source| SandboxError::Helper {
            helper: self.helper.clone(),
            source,
        };
        // Some have ended meanwhile.
        reap_helpers();
        let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(&self.helper);
        command
            // What the sandbox's processes see as the first process's command line.
            .arg0("bootstrap")
            .arg(INIT_ARGUMENT)
            .env_clear()
            .stdin(OwnedFd::from(theirs));
        if let Some(output) = output {
            command
                .stdout(output.try_clone().map_err(failed)?)
                .stderr(output);
        } else {
            command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
        }
        let child = command.spawn().map_err(failed)?;
        // The command holds the helper's end of the socket and the output: both must end with the helper.
        drop(command);
        let told = protocol::send_descriptors(&ours, descriptors)
            .and_then(|()| protocol::send(&mut ours, &specification));
        let helped = Helped {
            helper: Some(child),
            socket: Arc::new(ours),
            interactive: specification.interactive,
            program: specification.program,
            result: None,
        };
        match told {
            // It died before it listened; waiting will tell how.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(helped),
            Err(error) => Err(failed(error)),
            Ok(()) => Ok(helped),
        }
    }
}

impl Sandbox for Namespaces {
    fn check(&self) -> Result<(), SandboxError> {
        let user = BuildUser::default();
        let specification = Specification {
            outside: self.outside(&user),
            items: vec![
                Item::Devices {
                    target: "/dev".into(),
                    terminal: false,
                    size: None,
                },
                Item::Processes {
                    target: "/proc".into(),
                },
            ],
            host_name: "localhost".to_owned(),
            user,
            limits: Limits::default(),
            network: false,
            interactive: false,
            directory: "/".into(),
            program: "/nothing".to_owned(),
            arguments: vec![],
            environment: vec![],
            descriptors: vec![],
            rehearse: true,
            old_kernel: self.old_kernel,
        };
        let null = fs::File::options().write(true).open("/dev/null");
        let null = null.map_err(|source| SandboxError::Source {
            path: "/dev/null".into(),
            source,
        })?;
        match self
            .start(specification, &[], Some(null.into()))?
            .conclude()
        {
            Ok(Conclusion::Fit) => Ok(()),
            Ok(Conclusion::Finished(finished)) => Err(SandboxError::HelperDied {
                how: finished.status.to_string(),
            }),
            Err(SandboxError::Setup {
                step,
                path: None,
                source,
                remedy: Some(remedy),
            }) => Err(SandboxError::Unfit {
                problem: format!("cannot {step}: {source}"),
                remedy,
            }),
            Err(error) => Err(error),
        }
    }

    fn spawn(&self, world: World) -> Result<Box<dyn Running>, SandboxError> {
        sensible(&world)?;
        let items = layout(&world, &Sources::inspect(&world)?)?;
        let mut descriptors = Vec::new();
        let stdin = io::stdin();
        if world.interactive {
            descriptors.push(stdin.as_fd());
        }
        descriptors.extend(world.descriptors.iter().map(|(fd, _)| fd.as_fd()));
        let specification = Specification {
            items,
            outside: self.outside(&world.user),
            host_name: world.host_name,
            user: world.user,
            limits: world.limits,
            network: world.network,
            interactive: world.interactive,
            directory: world.build_directory.guest,
            program: world.program,
            arguments: world.arguments,
            environment: world
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            descriptors: world
                .descriptors
                .iter()
                .map(|&(_, number)| number)
                .collect(),
            rehearse: false,
            old_kernel: self.old_kernel,
        };
        let output = (!world.interactive).then_some(world.output);
        Ok(Box::new(self.start(specification, &descriptors, output)?))
    }

    /// The build user itself for root, where the machine (a container, perhaps) has such a number; else the
    /// caller.
    fn outside(&self, user: &BuildUser) -> (u32, u32) {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let has = |map: &str, number| {
            // Without the file there are no user namespaces, and no numbers missing.
            fs::read_to_string(map).map_or(true, |map| is_mapped(&map, number))
        };
        if uid.is_root()
            && has("/proc/self/uid_map", user.uid)
            && has("/proc/self/gid_map", user.gid)
        {
            (user.uid, user.gid)
        } else {
            (uid.as_raw(), gid.as_raw())
        }
    }

    /// Nothing to do: namespaces, and the mounts in them, end with their processes.
    fn clean_leftovers(&self) -> Result<(), SandboxError> {
        Ok(())
    }
}

/// Whether `number` is in `map`, a user namespace's: lines of first number inside, first outside, length.
fn is_mapped(map: &str, number: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(inside)), Some(Ok(_)), Some(Ok(length))) => {
                (inside..inside.saturating_add(length)).contains(&number.into())
            }
            _ => false,
        }
    })
}

/// Refuses what the layout does not look at.
fn sensible(world: &World) -> Result<(), SandboxError> {
    let bad = |problem: String| Err(SandboxError::BadWorld(problem));
    let user = &world.user;
    if user.uid == 0 || user.gid == 0 {
        return bad(format!("the build user `{}` is root", user.name));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if user.name.is_empty() || !user.name.chars().all(is_plain) {
        return bad(format!("`{}` is not a user name", user.name));
    }
    if world.host_name.is_empty() || world.host_name.len() > 64 {
        return bad(format!("`{}` is not a host name", world.host_name));
    }
    if !world.program.starts_with('/') {
        return bad(format!("`{}` is not an absolute path", world.program));
    }
    for (name, value) in &world.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return bad(format!("environment variable `{name}` cannot be passed on"));
        }
    }
    let mut strings = world.arguments.iter().chain([&world.program]);
    if let Some(string) = strings.find(|string| string.contains('\0')) {
        return bad(format!(
            "`{}` holds a zero byte",
            string.replace('\0', "\\0")
        ));
    }
    let mut numbers: Vec<_> = world
        .descriptors
        .iter()
        .map(|&(_, number)| number)
        .collect();
    numbers.sort_unstable();
    if numbers.first().is_some_and(|&first| first < 3) {
        return bad("descriptors 0, 1 and 2 are the standard streams".to_owned());
    }
    if numbers.windows(2).any(|pair| pair[0] == pair[1]) {
        return bad("two descriptors have the same number".to_owned());
    }
    // One place is for an interactive program's standard input.
    if numbers.len() >= protocol::MOST_DESCRIPTORS {
        return bad(format!("{} descriptors are too many", numbers.len()));
    }
    Ok(())
}

/// A helper, and what it has said.
struct Helped {
    helper: Option<Child>,
    /// The helper ends the sandbox when our end has shut down, or is gone.
    socket: Arc<UnixStream>,
    interactive: bool,
    program: String,
    result: Option<Finished>,
}

enum Conclusion {
    Fit,
    Finished(Finished),
}

impl Helped {
    fn conclude(&mut self) -> Result<Conclusion, SandboxError> {
        let mut socket = match self.socket.try_clone() {
            Ok(socket) => socket,
            Err(error) => return Err(self.died(error.to_string())),
        };
        match protocol::receive(&mut socket) {
            Ok(Some(Message::Fit)) => Ok(Conclusion::Fit),
            Ok(Some(Message::Finished(finished))) => Ok(Conclusion::Finished(finished)),
            Ok(Some(Message::Ended {
                killed: true,
                first,
            })) => Ok(Conclusion::Finished(Finished {
                status: ExitStatusKind::Signaled(rustix::process::Signal::KILL.as_raw()),
                ..first
            })),
            Ok(Some(Message::Ended {
                killed: false,
                first,
            })) => Err(SandboxError::HelperDied {
                how: first.status.to_string(),
            }),
            Ok(Some(Message::Failed(failure))) => Err(self.explain(failure)),
            Ok(None) => Err(self.died("no status".to_owned())),
            Err(error) => Err(self.died(error.to_string())),
        }
    }

    fn explain(&self, failure: protocol::Failure) -> SandboxError {
        let source = io::Error::from_raw_os_error(failure.errno);
        let remedy = remedies::remedy(&failure, &|path| fs::read_to_string(path).ok());
        if failure.step == super::Step::Execute {
            return SandboxError::Program {
                program: self.program.clone(),
                source,
                remedy,
            };
        }
        SandboxError::Setup {
            step: failure.step,
            path: failure.path,
            source,
            remedy,
        }
    }

    /// The helper's end, when it did not report itself.
    fn died(&mut self, otherwise: String) -> SandboxError {
        let status = self.helper.as_mut().and_then(|helper| helper.wait().ok());
        let how = status.map_or(otherwise, |status| match status.signal() {
            Some(signal) => ExitStatusKind::Signaled(signal).to_string(),
            None => ExitStatusKind::Exited(status.code().unwrap_or(0)).to_string(),
        });
        SandboxError::HelperDied { how }
    }
}

impl Running for Helped {
    fn wait(&mut self) -> Result<Finished, SandboxError> {
        if let Some(finished) = self.result {
            return Ok(finished);
        }
        match self.conclude()? {
            Conclusion::Finished(finished) => {
                if let (true, Some(helper)) = (self.interactive, &mut self.helper) {
                    // The last thing it does is to take the terminal back.
                    let _ = helper.wait();
                }
                self.result = Some(finished);
                Ok(finished)
            }
            Conclusion::Fit => Err(self.died("a rehearsal".to_owned())),
        }
    }

    fn killer(&self) -> Box<dyn Fn() + Send + Sync> {
        let socket = Arc::clone(&self.socket);
        Box::new(move || {
            // The helper sees the end of what we have to say. Answers still come.
            let _ = socket.shutdown(Shutdown::Write);
        })
    }
}

impl Drop for Helped {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(mut helper) = self.helper.take() {
            // It ends once the kernel has dismantled the namespaces: nothing to wait for.
            if !matches!(helper.try_wait(), Ok(Some(_))) {
                ENDING
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(helper);
            }
        }
    }
}

/// Helpers that are about to end, or have ended and are still to be reaped.
static ENDING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

fn reap_helpers() {
    ENDING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain_mut(|helper| matches!(helper.try_wait(), Ok(None)));
}

/// See [`super::init_main`].
pub(super) fn init_main() -> ! {
    // Execution through /proc/self/exe has named this process `exe`.
    let _ = rustix::thread::set_name(c"sandbox-init");
    init::main()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{BuildDirectory, Root};

    fn world() -> World {
        World {
            root: Root::Empty,
            mounts: vec![],
            store_dir: "/gnu/store".into(),
            store_writable: "/".into(),
            build_directory: BuildDirectory {
                host: "/".into(),
                guest: "/tmp/x".into(),
            },
            host_name: "localhost".into(),
            user: BuildUser::default(),
            limits: Limits::default(),
            program: "/bin/sh".into(),
            arguments: vec![],
            environment: Default::default(),
            descriptors: vec![],
            output: null(),
            network: false,
            interactive: false,
        }
    }

    fn null() -> OwnedFd {
        fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn a_world_that_makes_no_sense_is_refused_with_what_is_wrong() {
        sensible(&world()).unwrap();
        let variable = |name: &str, value: &str| [(name.into(), value.into())].into();
        type Change = Box<dyn Fn(&mut World)>;
        let changes: [(Change, &str); 10] = [
            (Box::new(|world| world.user.uid = 0), "root"),
            (Box::new(|world| world.user.name = "a:b".into()), "`a:b`"),
            (
                Box::new(|world| world.host_name = "x".repeat(65)),
                "host name",
            ),
            (Box::new(|world| world.program = "sh".into()), "`sh`"),
            (Box::new(|world| world.program = "/a\0".into()), "`/a\\0`"),
            (
                Box::new(|world| world.arguments = vec!["b\0".into()]),
                "`b\\0`",
            ),
            (
                Box::new(move |world| world.environment = variable("A=B", "")),
                "`A=B`",
            ),
            (
                Box::new(move |world| world.environment = variable("A", "\0")),
                "`A`",
            ),
            (
                Box::new(|world| world.descriptors = vec![(null(), 2)]),
                "standard streams",
            ),
            (
                Box::new(|world| world.descriptors = vec![(null(), 5), (null(), 5)]),
                "same number",
            ),
        ];
        for (change, complaint) in changes {
            let mut world = world();
            change(&mut world);
            let error = sensible(&world).unwrap_err();
            assert!(!error.is_environment());
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }

    #[test]
    fn numbers_are_looked_up_in_the_map_of_a_user_namespace() {
        assert!(is_mapped("         0          0 4294967295\n", 30001));
        assert!(is_mapped("0 1000 1\n1 100000 65536\n", 30001));
        assert!(!is_mapped("0 1000 1\n", 30001));
        assert!(!is_mapped("", 30001));
    }
}
