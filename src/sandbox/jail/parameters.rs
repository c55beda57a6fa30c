// SPDX-License-Identifier: GPL-3.0-or-later
//! What a build's jail is: its parameters, and the resource rules that go with it. See jail(8) and rctl(8).

use std::path::Path;

use crate::sandbox::{ResourceLimits, SandboxError};

/// A parameter of `jail_set(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, such as `host.hostname`.
    pub name: &'static str,
    /// What it is set to.
    pub value: ParameterValue,
}

/// The value of a jail's parameter, in the three forms that the kernel takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterValue {
    /// None: the name says it all, with `no` in it for off.
    Flag,
    /// A C `int`.
    Number(i32),
    /// A text.
    Text(String),
}

/// Which network a jail has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JailNetwork {
    /// None: no addresses at all. For kernels that cannot give a jail a network of its own.
    None,
    /// One of its own, with the interface `lo0` and no other. See vnet(9).
    Loopback,
    /// The machine's.
    Machine,
}

impl JailNetwork {
    /// What a build has: the machine's network where it is `shared`, otherwise loopback where the kernel is built with
    /// `options VIMAGE` (as GENERIC is).
    pub fn of(shared: bool, vimage: bool) -> Self {
        match (shared, vimage) {
            (true, _) => Self::Machine,
            (false, true) => Self::Loopback,
            (false, false) => Self::None,
        }
    }
}

/// The securelevel of a build: see security(7). It is raised in the jail, once its network is set up: at this level the
/// settings of a firewall cannot be changed any more.
pub const SECURELEVEL: i32 = 3;

/// The kernel's setting that says whether jails can have networks of their own.
pub const VIMAGE: &str = "kern.features.vimage";

/// `JAIL_SYS_DISABLE`: the jail has no part in that subsystem.
const DISABLE: i32 = 0;
/// `JAIL_SYS_NEW`: the jail has its own.
const NEW: i32 = 1;
/// `JAIL_SYS_INHERIT`: the jail shares the machine's.
const INHERIT: i32 = 2;

/// What jails may be allowed and a build's is not. Setting a host name, reserved ports and unprivileged debugging are
/// what a jail has when nothing is said; of the others, saying so makes us independent of another release's defaults.
const FORBIDDEN: [&str; 11] = [
    "allow.noset_hostname",
    // The machine's sysvmsg, sysvsem and sysvshm.
    "allow.nosysvipc",
    "allow.noraw_sockets",
    "allow.nochflags",
    "allow.nomount",
    "allow.noquotas",
    "allow.nosocket_af",
    "allow.nomlock",
    "allow.noreserved_ports",
    "allow.noread_msgbuf",
    "allow.nounprivileged_proc_debug",
];

/// The parts of System V IPC, each with the kernel's setting that says whether it is there.
const IPC: [(&str, &str); 3] = [
    ("sysvmsg", "kern.features.sysv_msg"),
    ("sysvsem", "kern.features.sysv_sem"),
    ("sysvshm", "kern.features.sysv_shm"),
];

/// Which parameters the kernel knows, of those that it may be built without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownParameters {
    /// `ip6`.
    pub ip6: bool,
    /// Those of System V IPC.
    pub ipc: Vec<&'static str>,
}

impl KnownParameters {
    /// Those of the kernel with such settings (see sysctl(8)).
    pub fn of(setting: impl Fn(&str) -> Option<i32>) -> Self {
        let has = |name: &str| setting(name) == Some(1);
        let ipc = IPC.iter().filter(|(_, feature)| has(feature));
        Self {
            ip6: has("kern.features.inet6"),
            ipc: ipc.map(|(parameter, _)| *parameter).collect(),
        }
    }
}

/// The parameters of the jail `name` on `root`. Its securelevel is raised later: see [`SECURELEVEL`].
///
/// # Errors
/// [`SandboxError::BadWorld`] when the root's path is not UTF-8.
pub fn parameters(
    name: &str,
    root: &Path,
    host_name: &str,
    network: JailNetwork,
    known: &KnownParameters,
) -> Result<Vec<Parameter>, SandboxError> {
    let root = root
        .to_str()
        .ok_or_else(|| SandboxError::BadWorld(format!("`{}` is not UTF-8", root.display())))?;
    let number = |name, number| Parameter {
        name,
        value: ParameterValue::Number(number),
    };
    let text = |name, text: &str| Parameter {
        name,
        value: ParameterValue::Text(text.to_owned()),
    };
    let flag = |name| Parameter {
        name,
        value: ParameterValue::Flag,
    };
    let mut parameters = vec![
        text("name", name),
        text("path", root),
        text("host.hostname", host_name),
        // Setting one of these makes the others the jail's own, too: not the machine's domain, nor its UUID.
        text("host.domainname", ""),
        text("host.hostuuid", "00000000-0000-0000-0000-000000000000"),
        // Of mounts, the program sees none but its root.
        number("enforce_statfs", 2),
        number("children.max", 0),
        // It is there before its first process, and until it is removed.
        flag("persist"),
    ];
    let addresses = match network {
        JailNetwork::None => Some(DISABLE),
        // The kernel refuses to limit the addresses of such a jail, which has none but those it is given.
        JailNetwork::Loopback => {
            parameters.push(number("vnet", NEW));
            None
        }
        JailNetwork::Machine => Some(INHERIT),
    };
    if let Some(addresses) = addresses {
        parameters.push(number("ip4", addresses));
        parameters.extend(known.ip6.then(|| number("ip6", addresses)));
    }
    // A build has System V IPC of its own, as on Linux; its objects go with the jail.
    parameters.extend(known.ipc.iter().map(|name| number(name, NEW)));
    parameters.extend(FORBIDDEN.map(flag));
    Ok(parameters)
}

/// The resource rules of the jail `name`, as rctl(8) writes them: what a limit of each process cannot say. A
/// process's own limit of processes counts those of all builds, for all of them run as the same user.
pub fn rules(name: &str, limits: &ResourceLimits) -> Vec<String> {
    let Some(processes) = limits.processes else {
        return Vec::new();
    };
    ["maxproc", "nthr"]
        .map(|resource| format!("jail:{name}:{resource}:deny={processes}"))
        .into()
}

/// What names all resource rules of the jail `name`.
pub fn rules_of(name: &str) -> String {
    format!("jail:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of GENERIC.
    fn known() -> KnownParameters {
        KnownParameters::of(|_| Some(1))
    }

    #[test]
    fn what_the_kernel_does_not_know_is_left_out() {
        let known = KnownParameters::of(|name| (name == "kern.features.sysv_sem").then_some(1));
        for network in [JailNetwork::None, JailNetwork::Machine] {
            let parameters =
                parameters("b-1", Path::new("/j/b-1"), "localhost", network, &known).unwrap();
            for name in ["ip6", "sysvmsg", "sysvshm"] {
                assert_eq!(value(&parameters, name), None, "{name}");
            }
            let there = value(&parameters, "sysvsem");
            assert_eq!(there, Some(ParameterValue::Number(1)));
            assert!(value(&parameters, "ip4").is_some());
        }
    }

    fn value(parameters: &[Parameter], name: &str) -> Option<ParameterValue> {
        let found = parameters.iter().find(|parameter| parameter.name == name);
        found.map(|parameter| parameter.value.clone())
    }

    #[test]
    fn a_builds_jail_has_no_children_and_no_rights_and_without_vimage_no_addresses() {
        let network = JailNetwork::of(false, false);
        let parameters =
            parameters("b-1", Path::new("/j/b-1"), "localhost", network, &known()).unwrap();
        assert_eq!(value(&parameters, "vnet"), None);
        for (name, expected) in [
            ("name", ParameterValue::Text("b-1".into())),
            ("path", ParameterValue::Text("/j/b-1".into())),
            ("host.hostname", ParameterValue::Text("localhost".into())),
            ("ip4", ParameterValue::Number(0)),
            ("ip6", ParameterValue::Number(0)),
            ("enforce_statfs", ParameterValue::Number(2)),
            ("children.max", ParameterValue::Number(0)),
            ("persist", ParameterValue::Flag),
            ("allow.noraw_sockets", ParameterValue::Flag),
            ("allow.nomount", ParameterValue::Flag),
            ("allow.nosysvipc", ParameterValue::Flag),
            ("sysvmsg", ParameterValue::Number(1)),
            ("sysvsem", ParameterValue::Number(1)),
            ("sysvshm", ParameterValue::Number(1)),
        ] {
            assert_eq!(value(&parameters, name), Some(expected), "{name}");
        }
        let allowed = |parameter: &&Parameter| {
            parameter.name.starts_with("allow.") && !parameter.name.starts_with("allow.no")
        };
        assert_eq!(parameters.iter().find(allowed), None);
    }

    #[test]
    fn a_network_of_its_own_comes_without_limits_of_addresses() {
        let network = JailNetwork::of(false, true);
        let parameters =
            parameters("b-1", Path::new("/j/b-1"), "localhost", network, &known()).unwrap();
        assert_eq!(value(&parameters, "vnet"), Some(ParameterValue::Number(1)));
        assert_eq!(value(&parameters, "ip4"), None);
        assert_eq!(value(&parameters, "ip6"), None);
        assert_eq!(
            value(&parameters, "allow.noraw_sockets"),
            Some(ParameterValue::Flag)
        );
    }

    #[test]
    fn a_fixed_output_shares_the_network() {
        let network = JailNetwork::of(true, true);
        let parameters =
            parameters("b-1", Path::new("/j/b-1"), "localhost", network, &known()).unwrap();
        assert_eq!(value(&parameters, "vnet"), None);
        assert_eq!(value(&parameters, "ip4"), Some(ParameterValue::Number(2)));
        assert_eq!(value(&parameters, "ip6"), Some(ParameterValue::Number(2)));
        assert_eq!(
            value(&parameters, "allow.noraw_sockets"),
            Some(ParameterValue::Flag)
        );
    }

    #[test]
    fn processes_and_threads_are_limited_by_jail_and_nothing_else_is() {
        let limits = ResourceLimits {
            memory: Some(1 << 30),
            processes: Some(64),
            ..ResourceLimits::default()
        };
        assert_eq!(
            rules("b-1", &limits),
            ["jail:b-1:maxproc:deny=64", "jail:b-1:nthr:deny=64"]
        );
        assert!(rules("b-1", &ResourceLimits::default()).is_empty());
        assert_eq!(rules_of("b-1"), "jail:b-1");
    }
}
