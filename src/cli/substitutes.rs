//! What `all` and `build` take from substitute servers instead of building it, and what they would take.

use std::collections::BTreeSet;

use super::context::Context;
use super::failure::Failure;
use crate::build::graph::{DOWNLOAD, Todo};
use crate::exchange::ExchangeError;
use crate::exchange::substitute::Server;
use crate::keys::PublicKey;
use crate::plan::Plan;
use crate::progress::size;
use crate::store::Store;
use crate::store::path::StorePath;

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

/// The keys whose owners may say what is in the store.
pub(super) fn trusted_keys(context: &Context) -> Result<Vec<PublicKey>, Failure> {
    let text = context.options.trusted_keys.as_deref().unwrap_or_default();
    Ok(PublicKey::parse_all("--trusted-keys", text)?)
}

/// Installs what the servers have of `todo`, the way from the plan to its nodes `wanted`.
pub(super) fn install(
    context: &Context,
    plan: &Plan,
    wanted: &[usize],
    todo: &Todo<'_>,
    store: &Store,
) -> Result<(), Failure> {
    let Some(servers) = Servers::of(context)? else {
        return Ok(());
    };
    let (mut items, mut bytes) = (0, 0);
    servers.ask(context, plan, wanted, todo, store, &mut |asked| {
        let installed = asked.server.install(store, asked.sets, asked.keys)?;
        let mut taken = Vec::new();
        for (number, installed) in asked.numbers.iter().zip(installed) {
            let Some(installed) = installed else {
                taken.push(false);
                continue;
            };
            taken.push(true);
            items += installed.paths.len();
            bytes += installed.nar_bytes;
            context.note(&format!(
                "{}: from {}, {}",
                todo.tasks[*number].job.label,
                asked.url,
                size::bytes(installed.nar_bytes)
            ));
        }
        Ok(taken)
    })?;
    if items > 0 {
        context.note(&format!("installed {items} items, {}", size::bytes(bytes)));
    }
    Ok(())
}

/// What [`install`] would take, in the order in which it would; changes nothing.
pub(super) fn forecast<'t>(
    context: &Context,
    plan: &Plan,
    wanted: &[usize],
    todo: &Todo<'t>,
    store: &Store,
) -> Result<Vec<Offered<'t>>, Failure> {
    let Some(servers) = Servers::of(context)? else {
        return Ok(Vec::new());
    };
    let mut offered = Vec::new();
    // What would be there by then.
    let mut there: BTreeSet<StorePath> = BTreeSet::new();
    servers.ask(context, plan, wanted, todo, store, &mut |asked| {
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
    fn of(context: &Context) -> Result<Option<Self>, Failure> {
        let urls = context.options.substitute_urls.as_deref();
        let urls = urls.unwrap_or_default();
        if urls.trim().is_empty() || context.options.offline {
            return Ok(None);
        }
        let keys = trusted_keys(context)?;
        if keys.is_empty() {
            return Err(Failure::Usage(
                "--substitute-urls without --trusted-keys: nothing that a server offers could be believed; give the public key \
                 that its owner has published"
                    .to_owned(),
            ));
        }
        let servers = urls
            .split_whitespace()
            .map(|url| Ok((url.to_owned(), Server::new(url)?)))
            .collect::<Result<_, ExchangeError>>()?;
        Ok(Some(Self { servers, keys }))
    }

    /// Goes from the items that are wanted towards those they are built from, which are left alone where what needs them
    /// came from a server. `take` says of each task it is asked for whether it need not be done any more.
    fn ask(
        mut self,
        context: &Context,
        plan: &Plan,
        wanted: &[usize],
        todo: &Todo<'_>,
        store: &Store,
        take: &mut dyn FnMut(Asked<'_>) -> Result<Vec<bool>, ExchangeError>,
    ) -> Result<(), Failure> {
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
            needed.retain(|number| todo.tasks[*number].job.derivation.builder != DOWNLOAD);
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
                        // What a server does not give is built; it is not asked again.
                        context.note(&format!("{error}; going on without this server"));
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
