// SPDX-License-Identifier: GPL-3.0-or-later
//! What is looked at, at each boundary.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use super::fault::GuixFault;
use super::program::{AnswerFields, Client};
use super::{BOUNDARIES, Passage, Served};
use crate::engine::derivations::StoredDerivations;
use crate::engine::error::EngineError;
use crate::engine::planned::Planned;
use crate::engine::session::Session;
use crate::exchange::daemon_connection::{Connection, DaemonAddress};
use crate::formats::derivation::{Derivation, DerivationSet};
use crate::formats::store_path::StorePath;
use crate::formats::visible::{visible, visible_path};
use crate::limited_file;
use crate::road::plan::road;
use crate::road::recipe::{Address, InputName};
use crate::store::Store;

/// The versions of Guix that were tried.
const KNOWN: [&str; 2] = ["1.4", "1.5"];
/// The name of the module that the client loads.
const MODULE: &str = "bootstrap-inputs";
/// The name of a path that no store has.
const ABSENT: &str = "00000000000000000000000000000000-bootstrap-doctor-absent";
/// What builds the trivial derivation.
const BASH: &str = "bash";
/// What runs Guix's builders.
const GUILE: &str = "guile";
/// Parts of the names of derivations of Guix's own bootstrap.
const FOREIGN: [&str; 7] = [
    "-mes-boot",
    "-bootstrap-",
    "-static-binaries-",
    "-guile-bootstrap",
    "-gcc-boot",
    "-make-boot",
    "-glibc-intermediate",
];

type StepResult = Result<Passage, GuixFault>;

/// A client that is looked at, and what is known of it so far.
pub(super) struct ClientWalk<'s> {
    session: &'s Session,
    served: &'s dyn Fn(u32) -> Served,
    client: Client,
    /// The place of the daemon, as the client names it.
    socket: String,
    /// Whether the daemon trusts this user.
    trusted: Option<bool>,
    planned: Option<Planned>,
}

impl<'s> ClientWalk<'s> {
    pub(super) fn new(
        session: &'s Session,
        program: &Path,
        served: &'s dyn Fn(u32) -> Served,
    ) -> Result<Self, GuixFault> {
        Ok(Self {
            session,
            served,
            client: Client::new(program)?,
            socket: String::new(),
            trusted: None,
            planned: None,
        })
    }

    /// Looks at the boundary of that number, whose predecessors hold.
    pub(super) fn step(&mut self, number: usize) -> StepResult {
        let steps: [fn(&mut Self) -> StepResult; BOUNDARIES.len()] = [
            Self::client,
            Self::configuration,
            Self::connection,
            Self::derivation,
            Self::daemon,
            Self::inputs,
            Self::execution,
            Self::module,
        ];
        steps[number](self)
    }

    /// The program runs and is Guix.
    fn client(&mut self) -> StepResult {
        let version = self.client.version()?;
        let series: Vec<&str> = version.splitn(3, '.').take(2).collect();
        let doubts = match KNOWN.contains(&series.join(".").as_str()) {
            true => Vec::new(),
            false => vec![GuixFault::Version {
                seen: version.clone(),
            }],
        };
        Ok(Passage {
            seen: format!("Guix {version}"),
            doubts,
        })
    }

    /// The client's modules load, and it has the directories and the system of this store.
    fn configuration(&mut self) -> StepResult {
        let answer = self.client.ask("load Guix's modules", &["configuration"])?;
        let directories = self.session.directories();
        let logical = directories.store_dir.as_str();
        let store = answer.text("store-directory")?;
        if store != logical {
            return Err(GuixFault::StoreDirectory {
                seen: visible(store),
                expected: logical.to_owned(),
            });
        }
        let system = answer.text("system")?;
        let expected = self.session.options().system.name();
        if system != expected {
            return Err(GuixFault::System {
                seen: visible(system),
                expected: expected.to_owned(),
            });
        }
        let guile = answer.text("guile")?;
        if guile.starts_with("2.") || guile.starts_with("1.") {
            return Err(GuixFault::Guile {
                seen: visible(guile),
            });
        }
        self.socket = answer.text("daemon")?.to_owned();
        let mut doubts = Vec::new();
        if !is_same(Path::new(logical), &directories.store) {
            doubts.push(GuixFault::Elsewhere {
                logical: logical.to_owned(),
                physical: visible_path(&directories.store),
            });
        }
        let state = answer.text("state-directory")?;
        if !is_same(Path::new(state), &directories.state) {
            doubts.push(GuixFault::StateDirectory {
                seen: visible(state),
                expected: visible_path(&directories.state),
            });
        }
        let seen = format!(
            "store {logical}, state {}, daemon {}, Guile {}, {system}",
            visible(state),
            visible(&self.socket),
            visible(guile)
        );
        Ok(Passage { seen, doubts })
    }

    /// A daemon answers where the client looks for it.
    fn connection(&mut self) -> StepResult {
        let place = DaemonAddress::of(&self.socket);
        let socket = visible(&self.socket);
        let Some(connection) = Connection::open(&place, &self.socket)? else {
            return Ok(Passage {
                seen: format!("by {socket}"),
                doubts: vec![GuixFault::Remote { socket }],
            });
        };
        let version = format!("protocol {:#x}", connection.version);
        // Nothing is known of clients over a network.
        let served = match place {
            DaemonAddress::Local(_) => (self.served)(std::process::id()),
            _ => Served::Unknown("it is reached over a network".to_owned()),
        };
        Ok(match served {
            Served::Yes { trusted } => {
                self.trusted = Some(trusted);
                format!("{version}, this program's daemon").into()
            }
            Served::No => Passage {
                seen: version,
                doubts: vec![GuixFault::NotOurs { socket }],
            },
            Served::Unknown(reason) => {
                format!("{version}; not known whether it is this program's daemon: {reason}").into()
            }
        })
    }

    /// The client's derivation is in this store, and has the paths that follow from its content here.
    fn derivation(&mut self) -> StepResult {
        let answer = self.client.ask("write a derivation", &["derivation"])?;
        let (path, derivation) = self.read_derivation(&answer)?;
        let store_dir = &self.session.directories().store_dir;
        DerivationSet::new()
            .add(store_dir, &path, &derivation)
            .map_err(GuixFault::Paths)?;
        Ok(format!(
            "{}: the same paths are computed here",
            self.session.shown(&path)
        )
        .into())
    }

    /// The daemon describes an item of the client's as the store does.
    fn daemon(&mut self) -> StepResult {
        let absent = format!("{}/{ABSENT}", self.session.directories().store_dir.as_str());
        let token = token();
        let answer = self
            .client
            .ask("ask the daemon", &["daemon", &token, &absent])?;
        let path = self.path(answer.text("path")?)?;
        let store = self.session.store_to_read()?;
        let info = store
            .path_info(&path)?
            .ok_or_else(|| self.other_store(&path))?;
        let checks = [
            ("validity", &path, answer.word("valid")?, "#t".to_owned()),
            (
                "hash",
                &path,
                answer.text("hash")?,
                info.nar_sha256.to_base16(),
            ),
            (
                "size",
                &path,
                answer.word("size")?,
                info.nar_size.to_string(),
            ),
        ];
        for (what, path, seen, expected) in checks {
            self.expect(what, self.session.shown(path), seen, expected)?;
        }
        self.expect(
            "validity",
            absent,
            answer.word("absent-is-valid")?,
            "#f".to_owned(),
        )?;
        let user = match self.trusted {
            Some(true) => "trusts this user",
            Some(false) => "does not trust this user, who can build but not repair",
            None => "may or may not trust this user",
        };
        Ok(format!("it adds and describes items as the store has them; it {user}").into())
    }

    /// The inputs and Guile are in the store, with their derivations.
    fn inputs(&mut self) -> StepResult {
        let planned = self.session.plan()?;
        let store = self.session.store_to_read()?;
        let mut wanted = road::final_inputs();
        let guile = Address::after_stage0(GUILE);
        if planned.plan.find(&guile.to_string()).is_err() {
            return Err(GuixFault::NoGuile);
        }
        wanted.push(InputName {
            address: guile,
            output: "out".to_owned(),
        });
        let (mut missing, mut unwritten) = (Vec::new(), BTreeSet::new());
        for input in &wanted {
            let name = input.address.to_string();
            let (node, _) = planned.package(&name)?;
            let output = node.derivation.output_path(&input.output);
            let paths = [output, Some(&node.derivation_path)];
            let valid = store.valid_among(paths.into_iter().flatten())?;
            if !output.is_some_and(|output| valid.contains(output)) {
                missing.push(input.to_string());
            } else if !valid.contains(&node.derivation_path) {
                unwritten.insert(name);
            }
        }
        if !missing.is_empty() {
            return Err(GuixFault::Inputs { missing });
        }
        if !unwritten.is_empty() {
            let missing = unwritten.into_iter().collect();
            return Err(GuixFault::Derivations { missing });
        }
        self.planned = Some(planned);
        Ok(format!("{} inputs and guile are in the store", wanted.len() - 1).into())
    }

    /// The daemon builds a derivation of the client's.
    fn execution(&mut self) -> StepResult {
        let bash = self.output(BASH)?;
        let bash = self.session.shown(&bash);
        let token = token();
        let asked = self.client.ask("build", &["execution", &bash, &token]);
        let answer = asked.map_err(|fault| match fault {
            GuixFault::Client { message, .. } => GuixFault::NotBuilt { message },
            other => other,
        })?;
        let output = self.path(answer.text("output")?)?;
        let place = self.session.directories().physical(&output);
        let made = limited_file::read_regular_text(&place, limited_file::SMALL);
        let expected = format!("{token}\n");
        match made {
            Ok(made) if made == expected => {
                Ok(format!("{} was built", self.session.shown(&output)).into())
            }
            Ok(made) => Err(GuixFault::Built {
                seen: format!("`{}`", visible(made.trim_end())),
                expected: format!("`{token}`"),
            }),
            Err(error) => Err(GuixFault::Built {
                seen: format!("a file that cannot be read ({error})"),
                expected: format!("`{token}`"),
            }),
        }
    }

    /// The client lowers `hello` with the module, on the inputs alone.
    fn module(&mut self) -> StepResult {
        let planned = self
            .planned
            .take()
            .map_or_else(|| self.session.plan(), Ok)?;
        let module = self.session.guix_module(&planned, MODULE)?;
        self.client.write(&format!("{MODULE}.scm"), &module.text)?;
        if let Some((file, text)) = &module.platform {
            self.client.write(file, text)?;
        }
        let directory = self.client.scratch().to_string_lossy().into_owned();
        let asked = self
            .client
            .ask("lower hello", &["module", &directory, MODULE]);
        let answer = asked.map_err(|fault| match fault {
            GuixFault::Client { message, .. } => GuixFault::Module { message },
            other => other,
        })?;
        let (path, derivation) = self.read_derivation(&answer)?;
        let store = self.session.store_to_read()?;
        let closure = store.closure([&path])?;
        let items: Vec<String> = closure
            .iter()
            .map(StorePath::base_name)
            .filter(|name| FOREIGN.iter().any(|part| name.contains(part)))
            .map(visible)
            .collect();
        if !items.is_empty() {
            return Err(GuixFault::Foreign { items });
        }
        let unused: Vec<String> = self
            .unused(&planned, &module.derivations, &derivation)
            .collect();
        match unused.is_empty() {
            true => Ok(format!(
                "hello is {}, on these inputs alone",
                self.session.shown(&path)
            )
            .into()),
            false => Err(GuixFault::Unused { unused }),
        }
    }

    /// The packages of the module that `derivation` does not name.
    fn unused<'w>(
        &'w self,
        planned: &'w Planned,
        module: &'w BTreeSet<StorePath>,
        derivation: &'w Derivation,
    ) -> impl Iterator<Item = String> + 'w {
        let nodes = planned.plan.nodes().iter();
        nodes
            .filter(|node| module.contains(&node.derivation_path))
            .filter(|node| {
                !derivation
                    .input_derivations
                    .contains_key(&node.derivation_path)
            })
            .map(|node| node.label.clone())
    }

    /// The output `out` of the final package `name`.
    fn output(&self, name: &str) -> Result<StorePath, GuixFault> {
        let planned = self.planned.as_ref();
        let missing = || GuixFault::Inputs {
            missing: vec![name.to_owned()],
        };
        let planned = planned.ok_or_else(missing)?;
        let (node, _) = planned.package(name)?;
        node.derivation
            .output_path("out")
            .cloned()
            .ok_or_else(missing)
    }

    /// The derivation that an answer names, and its path.
    fn read_derivation(&self, answer: &AnswerFields) -> Result<(StorePath, Derivation), GuixFault> {
        let path = self.path(answer.text("derivation")?)?;
        let store: Store = self.session.store_to_read()?;
        let stored =
            StoredDerivations::load_alone(&store, [&path]).map_err(|error| match error {
                EngineError::NoDerivation { .. } => self.other_store(&path),
                EngineError::Derivation { path, problem } => {
                    GuixFault::Derivation { path, problem }
                }
                other => other.into(),
            })?;
        match stored.get(&path) {
            Some(derivation) => Ok((path.clone(), derivation.clone())),
            None => Err(self.other_store(&path)),
        }
    }

    fn path(&self, text: &str) -> Result<StorePath, GuixFault> {
        let path = self.session.directories().store_dir.parse(text);
        path.map_err(|_| GuixFault::Path {
            seen: visible(text),
        })
    }

    fn other_store(&self, path: &StorePath) -> GuixFault {
        GuixFault::OtherStore {
            path: self.session.shown(path),
            socket: visible(&self.socket),
        }
    }

    fn expect(
        &self,
        what: &'static str,
        path: String,
        seen: &str,
        expected: String,
    ) -> Result<(), GuixFault> {
        match seen == expected {
            true => Ok(()),
            false => Err(GuixFault::Daemon {
                what,
                path,
                seen: visible(seen),
                expected,
            }),
        }
    }
}

/// Whether both paths lead to one directory, or are equal.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    place(one) == place(other)
}

/// A text that no build has made before.
fn token() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos());
    format!("{now}-{}", std::process::id())
}
