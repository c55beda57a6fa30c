// SPDX-License-Identifier: GPL-3.0-or-later
//! The document that `verify --json` prints: the records that go into it, and its signature.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::cli::context::{Context, print_json};
use crate::cli::failure::CommandFailure;
use crate::formats::keys::SecretKey;
use crate::road::plan::Plan;
use crate::show::records::Rebuilds;
use crate::verify::attestation::{Attestation, Rebuilt};
use crate::verify::signature;

/// Adds to each output of `plan` the recorded results of building it again. Records that cannot be read are left out.
pub fn note_rebuilds(context: &Context, plan: &Plan, attestation: &mut Attestation) {
    let state = &context.directories.state;
    let records = Rebuilds::new(state).read().unwrap_or_else(|error| {
        tracing::warn!("cannot read what was built again: {error}");
        Vec::new()
    });
    let mut rebuilds: HashMap<&str, Rebuilt> = HashMap::new();
    for record in &records {
        let rebuilt = rebuilds.entry(&record.derivation).or_insert(Rebuilt {
            rounds: 0,
            same: true,
            varied: BTreeSet::new(),
        });
        rebuilt.rounds = rebuilt.rounds.saturating_add(record.rounds);
        let varied = record.variations.iter().flat_map(BTreeMap::keys);
        // When a round began is there of every round.
        let varied = varied.filter(|name| *name != "time").cloned();
        rebuilt.varied.extend(varied);
        // A difference stays one, whatever is tried later.
        rebuilt.same &= record.same;
    }
    for output in &mut attestation.outputs {
        let node = plan.get(&output.package);
        let rebuilt = node.and_then(|node| rebuilds.get(node.derivation_path.base_name()));
        output.rebuilt = rebuilt.cloned();
    }
}

/// Prints the document, signed where there is a key.
pub fn put_out(attestation: &Attestation, key: Option<&SecretKey>) -> Result<(), CommandFailure> {
    let Some(key) = key else {
        return print_json(attestation);
    };
    let value = serde_json::to_value(attestation)
        .map_err(|error| CommandFailure::writing("JSON to standard output")(error.into()))?;
    let signed = signature::sign(value, key).map_err(CommandFailure::signature("the document"))?;
    print_json(&signed)
}
