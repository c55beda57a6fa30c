//! What `all` and `build` take from substitute servers instead of building it, and what they would take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::error::EngineError;
use super::notice::Notice;
use super::planned::{Planned, derivations, graph};
use super::session::Session;
use crate::builder::graph::Todo;
use crate::builder::scheduler::Report;
use crate::events::cancellation::Cancellation;
use crate::events::{Event, EventSender, Kind, Made, OutputMade, Summary};
use crate::exchange::ExchangeError;
use crate::exchange::substitute::{News, Offer, Server, Watch};
use crate::formats::keys::PublicKey;
use crate::formats::store_path::StorePath;
use crate::road::plan::Plan;
use crate::store::{PathInfo, Store};

/// What a server would give for an item that is to be made.
#[derive(Debug)]
pub(super) struct Offered<'t> {
    /// The label of the item.
    pub item: &'t str,
    /// The server's URL.
    pub url: String,
    /// The item's own outputs.
    pub outputs: BTreeSet<StorePath>,
    /// How many store items would be installed: the outputs, and what they refer to unless something before did.
    pub paths: usize,
    /// What they take in the store, in bytes.
    pub nar_size: u64,
    /// What would cross the network, in bytes; `None` where the server does not say.
    pub download_size: Option<u64>,
}

/// Installs what the servers have of all that is missing on the way to the nodes `wanted` of the plan, and tells `events` of
/// each item. Where the run was cancelled meanwhile, it is over: then its report is given.
pub(super) fn install(
    session: &Session,
    planned: &Planned,
    wanted: &[usize],
    store: &Store,
    events: &EventSender,
    cancellation: &Cancellation,
) -> Result<Option<Report>, EngineError> {
    let plan = &planned.plan;
    let Some(servers) = Servers::of(session)? else {
        return Ok(None);
    };
    let start = Instant::now();
    let graph = graph(plan, &session.directories().store_dir);
    let missing = || {
        let todo = graph.missing(derivations(plan, wanted), store, |_| None);
        todo.map_err(EngineError::from)
    };
    let todo = missing()?;
    let names = Names::of(session, plan);
    let asked = servers.ask(session, plan, wanted, &todo, store, &mut |asked| {
        let teller = Teller::new(asked.url, &names, events);
        let watch = Watch {
            cancellation: cancellation.clone(),
            news: &|news: News<'_>| teller.tell(news),
        };
        let installed = asked.server.install(store, asked.sets, asked.keys, &watch);
        teller.end(installed.as_ref().err());
        Ok(installed?.iter().map(Option::is_some).collect())
    });
    match asked {
        Err(EngineError::Exchange(error)) if matches!(*error, ExchangeError::Interrupted) => {}
        asked => return asked.map(|()| None),
    }
    let todo = missing()?;
    let owned = |label: &str| label.to_owned();
    let summary = Summary {
        reused: todo.reused.iter().map(|label| owned(label)).collect(),
        not_started: todo
            .tasks
            .iter()
            .map(|task| owned(task.job.label))
            .collect(),
        interrupted: true,
        impure: planned.seeds.seed.impurity(),
        seconds: start.elapsed().as_secs_f64(),
        cores: session.build_settings().cores.get(),
        ..Summary::default()
    };
    events.emit(Event::Interrupted);
    events.emit(Event::RunFinished {
        summary: summary.clone(),
    });
    Ok(Some(Report {
        summary,
        errors: Vec::new(),
    }))
}

/// What store items are called.
struct Names<'p> {
    session: &'p Session,
    outputs: BTreeMap<&'p StorePath, Name<'p>>,
}

struct Name<'p> {
    label: &'p str,
    output: &'p str,
    derivation: &'p StorePath,
}

impl<'p> Names<'p> {
    fn of(session: &'p Session, plan: &'p Plan) -> Self {
        let outputs = plan.nodes().iter().flat_map(|node| {
            node.output_paths().map(move |(output, path)| {
                let name = Name {
                    label: &node.label,
                    output,
                    derivation: &node.derivation_path,
                };
                (path, name)
            })
        });
        Self {
            session,
            outputs: outputs.collect(),
        }
    }

    /// The label of what has `path` as an output, with the output's name where it is not `out`. Packages may refer to what no
    /// package has as an output, to a patch for one; that is called as in the store.
    fn item(&self, path: &StorePath) -> String {
        match self.outputs.get(path) {
            Some(name) if name.output == "out" => name.label.to_owned(),
            Some(name) => format!("{}:{}", name.label, name.output),
            None => path.base_name().to_owned(),
        }
    }

    /// The base name of the derivation that makes `path`; nothing where none does.
    fn derivation(&self, path: &StorePath) -> String {
        let name = self.outputs.get(path);
        name.map_or_else(String::new, |name| name.derivation.base_name().to_owned())
    }

    fn made(&self, info: &PathInfo) -> OutputMade {
        let name = self.outputs.get(&info.path);
        OutputMade {
            name: name.map_or("out", |name| name.output).to_owned(),
            path: self.session.shown(&info.path),
            nar_size: info.nar_size,
        }
    }
}

/// Makes events of what happens while items are installed from one server.
struct Teller<'t> {
    url: &'t str,
    names: &'t Names<'t>,
    events: &'t EventSender,
    so_far: Mutex<SoFar>,
}

#[derive(Default)]
struct SoFar {
    has_begun: bool,
    /// When work on each item began that is not finished.
    begun: BTreeMap<StorePath, Instant>,
    installed: usize,
    nar_size: u64,
}

impl<'t> Teller<'t> {
    fn new(url: &'t str, names: &'t Names<'t>, events: &'t EventSender) -> Self {
        Self {
            url,
            names,
            events,
            so_far: Mutex::default(),
        }
    }

    fn tell(&self, news: News<'_>) {
        // Whoever reads events may let us wait: not with the lock held.
        let event = self.event(news);
        self.events.emit(event);
    }

    fn event(&self, news: News<'_>) -> Event {
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Found(offers) => {
                so_far.has_begun = true;
                let sizes = offers.iter().map(|offer: &Offer| offer.download_size);
                Event::SubstitutesFound {
                    substitutes: offers.len(),
                    size: sizes.sum(),
                    location: self.url.to_owned(),
                }
            }
            News::Begun(path) => {
                so_far.begun.insert(path.clone(), Instant::now());
                Event::Started {
                    item: self.names.item(path),
                    kind: Kind::Substitute,
                    derivation: self.names.derivation(path),
                    log: None,
                }
            }
            News::Received { path, bytes, total } => Event::DownloadProgress {
                item: self.names.item(path),
                received: bytes,
                total,
                location: self.url.to_owned(),
            },
            News::Installed(info) => {
                so_far.installed += 1;
                so_far.nar_size += info.nar_size;
                let begun = so_far.begun.remove(&info.path);
                let made = Made {
                    outputs: vec![self.names.made(info)],
                    seconds: begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64()),
                    ..Made::default()
                };
                Event::Finished {
                    item: self.names.item(&info.path),
                    kind: Kind::Substitute,
                    made,
                }
            }
            News::Reused(path) => Event::Reused {
                item: self.names.item(path),
            },
        }
    }

    /// Nothing more comes from this server, because of `error` where there is one.
    fn end(self, error: Option<&ExchangeError>) {
        let so_far = self.so_far.into_inner();
        let so_far = so_far.unwrap_or_else(PoisonError::into_inner);
        if so_far.has_begun {
            self.events.emit(Event::SubstitutesEnded {
                location: self.url.to_owned(),
                installed: so_far.installed,
                nar_size: so_far.nar_size,
                problem: error.map(ToString::to_string),
            });
        }
    }
}

/// What [`install`] would take, in the order in which it would; changes nothing.
pub(super) fn forecast<'t>(
    session: &Session,
    plan: &Plan,
    wanted: &[usize],
    todo: &Todo<'t>,
    store: &Store,
) -> Result<Vec<Offered<'t>>, EngineError> {
    let Some(servers) = Servers::of(session)? else {
        return Ok(Vec::new());
    };
    let mut offered = Vec::new();
    // What would be there by then.
    let mut there: BTreeSet<StorePath> = BTreeSet::new();
    servers.ask(session, plan, wanted, todo, store, &mut |asked| {
        let offers = asked.server.offers(store, asked.sets, asked.keys)?;
        let mut taken = Vec::new();
        for ((number, outputs), mut offers) in asked.numbers.iter().zip(asked.sets).zip(offers) {
            taken.push(offers.is_some());
            let Some(offers) = &mut offers else {
                continue;
            };
            offers.retain(|offer| there.insert(offer.path.clone()));
            offered.push(Offered {
                item: todo.tasks[*number].job.label,
                url: asked.url.to_owned(),
                outputs: outputs.clone(),
                paths: offers.len(),
                nar_size: offers.iter().map(|offer| offer.nar_size).sum(),
                download_size: offers.iter().map(|offer| offer.download_size).sum(),
            });
        }
        Ok(taken)
    })?;
    Ok(offered)
}

/// The servers of a run, each with its URL, and whom they are believed.
struct Servers {
    servers: Vec<(String, Server)>,
    keys: Vec<PublicKey>,
}

/// What one server is asked for.
struct Asked<'a> {
    url: &'a str,
    server: &'a Server,
    keys: &'a [PublicKey],
    /// The tasks.
    numbers: &'a [usize],
    /// The outputs of each.
    sets: &'a [BTreeSet<StorePath>],
}

impl Servers {
    /// The servers that the options name; `None` where none is to be asked.
    fn of(session: &Session) -> Result<Option<Self>, EngineError> {
        let urls = &session.options().substitute_urls;
        if urls.is_empty() || session.options().offline {
            return Ok(None);
        }
        let keys = session.options().trusted_keys.read()?;
        if keys.is_empty() {
            return Err(EngineError::NoTrustedKeys);
        }
        let servers = urls
            .iter()
            .map(|url| Ok((url.clone(), Server::new(url)?)))
            .collect::<Result<_, ExchangeError>>()?;
        Ok(Some(Self { servers, keys }))
    }

    /// Goes from the items that are wanted towards those they are built from, which are left alone where what needs them
    /// came from a server. `take` says of each task it is asked for whether it need not be done any more.
    fn ask(
        mut self,
        session: &Session,
        plan: &Plan,
        wanted: &[usize],
        todo: &Todo<'_>,
        store: &Store,
        take: &mut dyn FnMut(Asked<'_>) -> Result<Vec<bool>, ExchangeError>,
    ) -> Result<(), EngineError> {
        let asked: BTreeSet<&StorePath> = wanted
            .iter()
            .map(|index| &plan.nodes()[*index].derivation_path)
            .collect();
        // Of each task, whether it need not be done.
        let mut done: Vec<Option<bool>> = vec![None; todo.tasks.len()];
        let mut open: Vec<usize> = (0..todo.tasks.len()).rev().collect();
        while !open.is_empty() {
            // All that is known to be needed is asked for at once.
            let mut needed: Vec<usize> = Vec::new();
            open.retain(|&number| {
                let task = &todo.tasks[number];
                let is_done = |dependant: &usize| done[*dependant];
                let mut dependants = task.dependants.iter().map(is_done);
                if asked.contains(task.job.path)
                    || dependants.clone().any(|done| done == Some(false))
                {
                    needed.push(number);
                    return false;
                }
                if dependants.all(|done| done == Some(true)) {
                    done[number] = Some(true);
                }
                done[number].is_none()
            });
            for number in &needed {
                done[*number] = Some(false);
            }
            needed.retain(|number| todo.tasks[*number].job.kind != Kind::Download);
            let mut dead = Vec::new();
            for (place, (url, server)) in self.servers.iter().enumerate() {
                needed.retain(|number| done[*number] == Some(false));
                let outputs = |number: &usize| {
                    let outputs = todo.tasks[*number].job.derivation.outputs.values();
                    outputs.filter_map(|output| output.path.clone()).collect()
                };
                let sets: Vec<BTreeSet<StorePath>> = needed.iter().map(outputs).collect();
                let taken = take(Asked {
                    url,
                    server,
                    keys: &self.keys,
                    numbers: &needed,
                    sets: &sets,
                });
                let taken = match taken {
                    Ok(taken) => taken,
                    Err(error @ ExchangeError::Server { .. }) => {
                        // It is not asked again.
                        session.notify(Notice::ServerLeft {
                            problem: error.to_string(),
                        });
                        dead.push(place);
                        // What came before it broke down is there.
                        let valid = store.valid_among(sets.iter().flatten())?;
                        sets.iter().map(|set| set.is_subset(&valid)).collect()
                    }
                    Err(error) => return Err(error.into()),
                };
                for (number, taken) in needed.iter().zip(taken) {
                    done[*number] = Some(taken);
                }
            }
            for place in dead.into_iter().rev() {
                self.servers.remove(place);
            }
        }
        Ok(())
    }
}
