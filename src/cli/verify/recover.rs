// SPDX-License-Identifier: GPL-3.0-or-later
//! `verify --recover`: rebuilds the database.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::context::{Context, print, print_json};
use crate::cli::failure::CommandFailure;
use crate::formats::count::{agreeing, counted};
use crate::formats::store_path::StorePath;

#[derive(Debug, Serialize)]
struct RecoveryDocument {
    /// Where the old database is.
    aside: Option<String>,
    proven: Vec<String>,
    taken: Vec<String>,
    lost: BTreeMap<String, String>,
}

/// `bootstrap verify --recover`.
pub fn recover(context: &Context) -> Result<(), CommandFailure> {
    let recovered = context.session.recover()?;
    let all = |paths: &mut dyn Iterator<Item = &StorePath>| -> Vec<String> {
        paths.map(|path| context.shown(path)).collect()
    };
    if context.options.json {
        return print_json(&RecoveryDocument {
            aside: recovered
                .aside
                .as_ref()
                .map(|aside| aside.display().to_string()),
            proven: all(&mut recovered.proven.iter()),
            taken: all(&mut recovered.taken.iter()),
            lost: recovered
                .lost
                .iter()
                .map(|(path, reason)| (context.shown(path), reason.clone()))
                .collect(),
        });
    }
    let mut text = String::new();
    for (path, reason) in &recovered.lost {
        text.push_str(&format!("lost: {}: {reason}\n", context.shown(path)));
    }
    for path in &recovered.taken {
        text.push_str(&format!("accepted unverified: {}\n", context.shown(path)));
    }
    text.push_str(&format!(
        "{} proven by {} contents, {} accepted unverified, {} lost\n",
        counted(recovered.proven.len(), "item"),
        agreeing(recovered.proven.len(), "its", "their"),
        recovered.taken.len(),
        recovered.lost.len()
    ));
    if let Some(aside) = &recovered.aside {
        text.push_str(&format!(
            "what was left of the old database is in {}\n",
            aside.display()
        ));
    }
    if !recovered.taken.is_empty() {
        text.push_str(
            "when things were registered is lost, and with it the hashes of what is accepted unverified: compare with a lock \
             (`bootstrap verify --lock`), or build again (`bootstrap verify --rebuild`)\n",
        );
    }
    print(&context.invocation.complete(&text))
}
