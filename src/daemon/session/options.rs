// SPDX-License-Identifier: GPL-3.0-or-later
//! What a client's options come to, given who the client is.

use std::time::Duration;

use super::fault::Fault;
use crate::daemon::configuration::DaemonConfiguration;
use crate::daemon::peer::Peer;
use crate::exchange::substitute::Server;
use crate::formats::worker::ClientOptions;

/// How a client's builds run, and which messages it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientSettings {
    pub(super) keep_failed: bool,
    pub(super) keep_going: bool,
    /// Whether to build what a server has but does not give.
    pub(super) fallback: bool,
    /// Whether lines such as `@ build-started` are sent.
    pub(super) traces: bool,
    /// Whether lines about downloads are sent.
    pub(super) extended_traces: bool,
    /// Whether what a build prints comes with the number of its build.
    pub(super) multiplexed: bool,
    /// Whether builds are offered to the daemon's build hook.
    pub(super) use_build_hook: bool,
    pub(super) max_jobs: u32,
    pub(super) cores: u32,
    pub(super) timeout: u64,
    pub(super) max_silent_time: u64,
    /// How often each derivation is built.
    pub(super) rounds: u32,
    pub(super) use_substitutes: bool,
    /// The client's own servers, where it has named some.
    pub(super) substitute_urls: Option<Vec<String>>,
}

/// What else is to be done about the options that a client has sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SentOptions {
    /// The user that a remote client says it is.
    pub(super) user: Option<String>,
    /// The substitute servers that it may not name.
    pub(super) refused_urls: Vec<String>,
}

impl ClientSettings {
    /// Those of a client that sets none.
    pub(super) fn new(configuration: &DaemonConfiguration) -> Self {
        Self {
            keep_failed: false,
            keep_going: false,
            fallback: false,
            traces: false,
            extended_traces: false,
            multiplexed: false,
            use_build_hook: true,
            max_jobs: configuration.max_jobs,
            cores: configuration.cores,
            timeout: configuration.timeout,
            max_silent_time: configuration.max_silent_time,
            rounds: configuration.rounds,
            use_substitutes: configuration.use_substitutes,
            substitute_urls: None,
        }
    }

    /// Takes what `peer` has sent, as far as it may set it.
    ///
    /// Any client may set limits of its own builds. Substitutes can be turned off, but not on. Substitute servers may
    /// be named by any client: what they give is checked by its signature. But directories may only be named by a
    /// trusted client, or where the daemon's own settings name them: this process may read what the client may not.
    /// Other options are known to guix-daemon's helpers alone, and are accepted.
    ///
    /// # Errors
    /// Where a value is not what its option takes. Nothing changes then.
    pub(super) fn set(
        &mut self,
        sent: &ClientOptions,
        peer: &Peer,
        configuration: &DaemonConfiguration,
    ) -> Result<SentOptions, Fault> {
        let mut new = self.clone();
        let mut outcome = SentOptions::default();
        // A remote client could not look at the directory, and would fill the disk.
        new.keep_failed = sent.keep_failed && !peer.is_remote();
        new.keep_going = sent.keep_going;
        new.fallback = sent.fallback;
        new.use_build_hook = sent.use_build_hook.unwrap_or(true);
        new.traces = sent.print_build_trace.unwrap_or(false);
        if let Some(wanted) = sent.use_substitutes {
            new.use_substitutes = configuration.use_substitutes && wanted;
        }
        for (name, value) in &sent.named {
            match name.as_str() {
                "build-max-jobs" => new.max_jobs = number(name, value)?,
                "build-cores" => new.cores = number(name, value)?,
                "build-timeout" => new.timeout = number(name, value)?.into(),
                "build-max-silent-time" => new.max_silent_time = number(name, value)?.into(),
                "build-repeat" => new.rounds = number(name, value)?.saturating_add(1),
                "multiplexed-build-output" => new.multiplexed = value == "true",
                "print-extended-build-trace" => new.extended_traces = value == "1",
                "substitute-urls" | "untrusted-substitute-urls" => {
                    let urls = value.split_whitespace().map(str::to_owned);
                    let is_allowed = |url: &String| may_name(url, peer, configuration);
                    let (urls, refused): (Vec<_>, Vec<_>) = urls.partition(is_allowed);
                    new.substitute_urls = Some(urls);
                    outcome.refused_urls.extend(refused);
                }
                "user-name" if peer.is_remote() => outcome.user = Some(value.clone()),
                _ => {}
            }
        }
        *self = new;
        Ok(outcome)
    }

    /// The longest time of a build.
    pub(super) fn timeout(&self) -> Option<Duration> {
        (self.timeout > 0).then(|| Duration::from_secs(self.timeout))
    }

    /// The longest silence of a build.
    pub(super) fn max_silent_time(&self) -> Option<Duration> {
        (self.max_silent_time > 0).then(|| Duration::from_secs(self.max_silent_time))
    }
}

/// Whether `peer` may name the substitute server at `url`.
fn may_name(url: &str, peer: &Peer, configuration: &DaemonConfiguration) -> bool {
    fn place(url: &str) -> &str {
        let place = url.split_once('?').map_or(url, |(place, _)| place);
        place.trim_end_matches('/')
    }
    let mut own = configuration.substitute_urls.iter();
    peer.trusted || Server::needs_network(url) || own.any(|own| place(own) == place(url))
}

fn number(name: &str, value: &str) -> Result<u32, Fault> {
    value.parse().map_err(|_| {
        let shown: String = value.chars().take(40).collect();
        Fault::refused(format!(
            "the option `{name}': expected a number from 0 to {}, saw `{}'",
            u32::MAX,
            shown.escape_default()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::peer::PeerIdentity;
    use crate::formats::store_path::StoreDir;
    use crate::store::directories::Directories;

    fn configuration() -> DaemonConfiguration {
        let store_dir = StoreDir::new("/gnu/store").unwrap();
        DaemonConfiguration::new(
            "x86_64-linux".to_owned(),
            &Directories::new(store_dir, None),
        )
    }

    fn local() -> Peer {
        Peer {
            identity: Some(PeerIdentity {
                user: 1000,
                group: 1000,
                process: None,
            }),
            trusted: false,
        }
    }

    const REMOTE: Peer = Peer {
        identity: None,
        trusted: false,
    };

    fn sent(named: &[(&str, &str)]) -> ClientOptions {
        let named = named.iter();
        ClientOptions {
            keep_failed: true,
            use_substitutes: Some(true),
            named: named
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..ClientOptions::default()
        }
    }

    #[test]
    fn substitutes_can_be_turned_off_but_not_on() {
        let off = DaemonConfiguration {
            use_substitutes: false,
            ..configuration()
        };
        let mut options = ClientSettings::new(&off);
        options.set(&sent(&[]), &local(), &off).unwrap();
        assert!(!options.use_substitutes);
        let mut options = ClientSettings::new(&configuration());
        let without = ClientOptions {
            use_substitutes: Some(false),
            ..sent(&[])
        };
        options.set(&without, &local(), &configuration()).unwrap();
        assert!(!options.use_substitutes);
    }

    #[test]
    fn a_remote_client_keeps_no_build_directories_and_says_who_it_is() {
        let mut options = ClientSettings::new(&configuration());
        let sent = sent(&[("user-name", "alice")]);
        let user = options.set(&sent, &local(), &configuration()).unwrap().user;
        assert_eq!((user, options.keep_failed), (None, true));
        let user = options.set(&sent, &REMOTE, &configuration()).unwrap().user;
        assert_eq!(
            (user.as_deref(), options.keep_failed),
            (Some("alice"), false)
        );
    }

    #[test]
    fn a_user_names_no_directories_but_those_of_the_daemon() {
        let configuration = DaemonConfiguration {
            substitute_urls: vec!["file:///srv/cache/?priority=10".to_owned()],
            ..configuration()
        };
        let all = "file:///tmp/evil https://example.org file:///srv/cache file:///srv/cache/..";
        let trusted = Peer {
            trusted: true,
            ..local()
        };
        for (peer, refused) in [
            (local(), &["file:///tmp/evil", "file:///srv/cache/.."][..]),
            (REMOTE, &["file:///tmp/evil", "file:///srv/cache/.."]),
            (trusted, &[]),
        ] {
            for name in ["substitute-urls", "untrusted-substitute-urls"] {
                let mut options = ClientSettings::new(&configuration);
                let outcome = options.set(&sent(&[(name, all)]), &peer, &configuration);
                assert_eq!(outcome.unwrap().refused_urls, refused);
                let mut urls: Vec<&str> = all.split(' ').collect();
                urls.retain(|url| !refused.contains(url));
                assert_eq!(options.substitute_urls.unwrap(), urls);
            }
        }
    }

    #[test]
    fn a_wrong_number_changes_nothing() {
        let mut options = ClientSettings::new(&configuration());
        let before = options.clone();
        for bad in ["-1", "", "4294967296", "two"] {
            let sent = sent(&[("build-cores", "4"), ("build-timeout", bad)]);
            let set = options.set(&sent, &local(), &configuration());
            assert!(matches!(set, Err(Fault::Refused { .. })), "{bad}");
            assert_eq!(options, before);
        }
        let sent = sent(&[
            ("build-repeat", "2"),
            ("build-timeout", "7"),
            ("unknown", "x"),
        ]);
        options.set(&sent, &local(), &configuration()).unwrap();
        assert_eq!(options.rounds, 3);
        assert_eq!(options.timeout(), Some(Duration::from_secs(7)));
    }
}
