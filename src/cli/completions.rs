// SPDX-License-Identifier: GPL-3.0-or-later
//! `names`, which the scripts of `completions` call.

use super::arguments::CompletedNames;
use super::context::{Context, print};
use super::failure::CommandFailure;
use crate::show::completions::package_names;

/// `bootstrap names`: a name a line.
pub fn names(context: &Context, what: CompletedNames) -> Result<(), CommandFailure> {
    let mut text = String::new();
    match what {
        CompletedNames::Packages => text = package_names(&context.plan()?, true),
        CompletedNames::PackagesWithoutOutputs => text = package_names(&context.plan()?, false),
        CompletedNames::Seeds => {
            for seed in context.session.described_seeds()? {
                text.push_str(&format!("{}\n", seed.name));
            }
        }
    }
    print(&text)
}
