// SPDX-License-Identifier: GPL-3.0-or-later
//! `names`, which the scripts of `completions` call.

use super::arguments::Names;
use super::context::{Context, print};
use super::failure::Failure;
use crate::show::completions::package_names;

/// `bootstrap names`: a name a line; with packages, `NAME:OUTPUT` as well.
pub fn names(context: &Context, what: Names) -> Result<(), Failure> {
    let mut text = String::new();
    match what {
        Names::Packages => {
            text.push_str(&package_names(&context.plan()?));
        }
        Names::Seeds => {
            for seed in context.session.described_seeds()? {
                text.push_str(&format!("{}\n", seed.name));
            }
        }
    }
    print(&text)
}
