// SPDX-License-Identifier: GPL-3.0-or-later
//! `explain`: why a package is built again.

use serde::Serialize;

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use crate::engine::{Explanation, WantedDerivation};
use crate::show::reasons::{Words, words};

#[derive(Debug, Serialize)]
struct Explained {
    package: String,
    derivation: String,
    built: bool,
    gone: bool,
    previous: Option<String>,
    reasons: Vec<Words>,
}

/// `bootstrap explain PKG`.
pub fn explain(context: &Context, name: &str) -> Result<(), CommandFailure> {
    let planned = context.plan()?;
    let Explanation {
        package,
        derivation,
        built,
        gone,
        previous,
        reasons,
    } = match WantedDerivation::is_meant_by(name) {
        true => {
            let wanted = WantedDerivation::parse(&context.directories, name)?;
            let session = &context.session;
            session.explain_derivation(&planned, &wanted.derivation)?
        }
        false => context.session.explain(&planned, name)?,
    };
    let explained = Explained {
        package,
        derivation,
        built,
        gone,
        previous,
        reasons: words(&reasons),
    };
    match context.options.json {
        true => print_json(&explained),
        false => print(&describe(&explained)),
    }
}

fn describe(explained: &Explained) -> String {
    let Explained {
        package, reasons, ..
    } = explained;
    if explained.gone {
        return format!(
            "{package} would be built again: it was built like this before, and its outputs are no longer in the store\n"
        );
    }
    let mut text = match (&explained.previous, explained.built) {
        (None, true) => return format!("{package} is built, and no other build of it is known\n"),
        (None, false) => {
            return format!(
                "{package} would be built; no earlier build is recorded here: {}\n",
                explained.derivation
            );
        }
        (Some(previous), true) => {
            format!("{package} is built: nothing is to be done\n  what changed since {previous}:\n")
        }
        (Some(previous), false) => {
            format!("{package} would be built again\n  what changed since {previous}:\n")
        }
    };
    for reason in reasons {
        text.push_str(&format!("  {}: {}\n", reason.of, reason.change));
    }
    if reasons.is_empty() {
        text.push_str("  only the paths of inputs whose derivations are gone\n");
    }
    text
}
