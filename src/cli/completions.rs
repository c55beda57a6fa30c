// SPDX-License-Identifier: GPL-3.0-or-later
//! `names`, which the scripts of `completions` call.

use super::arguments::Names;
use super::context::{Context, print};
use super::failure::Failure;

/// `bootstrap names`: a name a line; with packages, `NAME:OUTPUT` as well.
pub fn names(context: &Context, what: Names) -> Result<(), Failure> {
    let mut text = String::new();
    match what {
        Names::Packages => {
            let planned = context.plan()?;
            for node in planned
                .plan
                .nodes()
                .iter()
                .filter(|node| node.stage.is_some())
            {
                text.push_str(&format!("{}\n", node.label));
                for output in node.outputs.iter().filter(|output| *output != "out") {
                    text.push_str(&format!("{}:{output}\n", node.label));
                }
            }
        }
        Names::Seeds => {
            for seed in context.session.described_seeds()? {
                text.push_str(&format!("{}\n", seed.name));
            }
        }
    }
    print(&text)
}
