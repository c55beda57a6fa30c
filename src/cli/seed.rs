// SPDX-License-Identifier: GPL-3.0-or-later
//! `seed list`, `seed show`, `seed update`, `seed reset`.

use serde::Serialize;

use super::context::{Context, print, print_json};
use super::failure::CommandFailure;
use crate::road::seed::Seed;
use crate::show::progress::size;
use crate::show::seeds::ShownSeed;

#[derive(Debug, Serialize)]
struct ListedSeed {
    name: String,
    system: String,
    supported: bool,
    default: bool,
    archives: Option<usize>,
    bytes: Option<u64>,
}

/// `bootstrap seed list`.
pub fn list(context: &Context) -> Result<(), CommandFailure> {
    let described = context.session.described_seeds()?.into_iter();
    let rows: Vec<ListedSeed> = described
        .map(|described| ListedSeed {
            supported: described.supported,
            default: described.default,
            system: described.system,
            archives: described.seed.as_ref().map(|seed| seed.archives.len()),
            bytes: described.seed.as_ref().and_then(total_size),
            name: described.name,
        })
        .collect();
    if context.options.json {
        return print_json(&rows);
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let systems = rows.iter().map(|row| row.system.len()).max().unwrap_or(0);
    let lines: String = rows
        .iter()
        .map(|row| {
            let archives = row.archives.map(|number| size::counted(number, "archive"));
            let archives = match (archives, row.bytes) {
                (Some(archives), None) => archives.to_string(),
                (Some(archives), Some(bytes)) => format!("{archives}, {}", size::bytes(bytes)),
                (None, _) => format!("no lock: run `bootstrap seed update {}`", row.name),
            };
            let default = match (row.default, row.supported) {
                (true, _) => "  (default)",
                (false, true) => "",
                (false, false) => "  (nothing is built for this system yet)",
            };
            format!(
                "{:<width$}  {:<systems$}  {archives}{default}\n",
                row.name, row.system
            )
        })
        .collect();
    print(&context.invocation.complete(&lines))
}

/// The size of all archives, where each is known.
fn total_size(seed: &Seed) -> Option<u64> {
    seed.archives.iter().map(|archive| archive.size).sum()
}

/// `bootstrap seed show [NAME]`.
pub fn show(context: &Context, name: Option<&str>) -> Result<(), CommandFailure> {
    let shown = ShownSeed::new(context.session.seed(name)?);
    match context.options.json {
        true => print_json(&shown),
        false => print(&shown.describe()),
    }
}

#[derive(Debug, Serialize)]
struct ShownUpdate<'a> {
    name: &'a str,
    file: String,
    changes: Vec<String>,
}

/// `bootstrap seed update [NAME]`.
pub fn update(context: &Context, name: Option<&str>) -> Result<(), CommandFailure> {
    let updated = context.session.update_seed(name)?;
    let name = &updated.name;
    let changes = size::counted(updated.changes.len(), "change");
    if context.options.json {
        return print_json(&ShownUpdate {
            name,
            file: updated.file.display().to_string(),
            changes: updated.changes,
        });
    }
    let lines = updated.changes.iter().map(|change| format!("{change}\n"));
    let mut text: String = lines.collect();
    text.push_str(&format!(
        "wrote {} with {changes}\n",
        updated.file.display()
    ));
    print(&text)?;
    if updated.is_own {
        context.note(&format!(
            "plans of this machine start from these packages now; `bootstrap seed reset {name}` goes back to the pinned ones"
        ));
    }
    Ok(())
}

/// `bootstrap seed reset [NAME]`.
pub fn reset(context: &Context, name: Option<&str>) -> Result<(), CommandFailure> {
    let (name, was_there) = context.session.reset_seed(name)?;
    context.note(&match was_there {
        true => format!("the seed {name} is again what its pinned lock says"),
        false => format!("this machine has no lock of its own for the seed {name}"),
    });
    Ok(())
}
