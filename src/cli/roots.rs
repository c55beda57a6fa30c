// SPDX-License-Identifier: GPL-3.0-or-later
//! `roots`: what keeps items alive.

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use crate::engine::generation;
use crate::show::roots::{ShownRoot, describe};
use crate::store::roots::RootKind;

/// `bootstrap roots`: a line for each generation, link and running process.
pub fn roots(context: &Context) -> Result<(), CommandFailure> {
    let roots = context.session.roots()?;
    let shown = roots.iter().map(|root| ShownRoot {
        kind: match root.kind {
            RootKind::Named(_) => "bootstrap",
            RootKind::Direct => "direct",
            RootKind::Indirect => "indirect",
            RootKind::Running(_) => "running",
        },
        link: root.link.display().to_string(),
        path: context.shown(&root.path),
        generation: match &root.kind {
            RootKind::Named(name) => {
                generation(name).map(|(name, number)| format!("{name}/{number}"))
            }
            _ => None,
        },
        process: match root.kind {
            RootKind::Running(process) => Some(process),
            _ => None,
        },
    });
    let shown: Vec<ShownRoot> = shown.collect();
    if context.options.json {
        return print_json(&shown);
    }
    if shown.is_empty() {
        context.note("no roots: `bootstrap gc` would remove every item; `bootstrap all` and `bootstrap build` leave roots");
    }
    print(&describe(&shown))
}
