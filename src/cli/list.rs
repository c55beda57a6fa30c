// SPDX-License-Identifier: GPL-3.0-or-later
//! `list`: the packages, and whether they are built.

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use super::packages::{Listed, listed};
use crate::engine::outputs_in_store;
use crate::formats::visible::visible_line;
use crate::road::plan::Node;

/// `bootstrap list`.
pub fn list(context: &Context) -> Result<(), CommandFailure> {
    let planned = context.plan()?;
    let store = context.store_to_read()?;
    let packages: Vec<&Node> = planned.plan.packages().collect();
    let valid = outputs_in_store(&store, packages.iter().copied())?;
    let rows: Vec<Listed<'_>> = packages
        .into_iter()
        .filter_map(|node| Some(listed(context, &planned, node, node.stage?, &valid)))
        .collect();
    if context.options.json {
        return print_json(&rows);
    }
    let width = |column: fn(&Listed<'_>) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let (names, versions) = (width(|row| row.name.len()), width(|row| row.version.len()));
    let mut text = String::new();
    for row in &rows {
        let built = if row.valid { "built" } else { "-" };
        let synopsis = visible_line(row.synopsis);
        text.push_str(&format!(
            "{:<names$}  {:<versions$}  {:<6}  {built:<5}  {synopsis}\n",
            row.name, row.version, row.stage
        ));
    }
    for (package, errors) in planned.plan.unplanned() {
        text.push_str(&format!("{package:<names$}  cannot be built: {errors}\n"));
    }
    context.note_impurity(&planned);
    print(&text)
}
