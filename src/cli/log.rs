// SPDX-License-Identifier: GPL-3.0-or-later
//! `log`: what a build printed.

use std::io::{self, IsTerminal, Write};

use super::context::Context;
use super::failure::CommandFailure;
use crate::engine::{BuildLog, WantedDerivation};
use crate::show::visible_log::VisibleLog;

/// `bootstrap log PKG`. A terminal gets text that it only displays, unless the log is wanted `raw`.
pub fn log(context: &Context, name: &str, raw: bool) -> Result<(), CommandFailure> {
    let log = match WantedDerivation::is_meant_by(name) {
        true => {
            let wanted = WantedDerivation::parse(&context.directories, name)?;
            context.session.derivation_log(&wanted.derivation)
        }
        false => context.session.log(&context.plan()?, name)?,
    };
    let BuildLog { label, path, text } = log;
    let Some(mut log) = text.map_err(CommandFailure::reading(&path))? else {
        return Err(CommandFailure::usage(
            format!(
                "no log of {label} at {}: it was not built here, or its log was removed",
                path.display()
            ),
            "one is written when it is built on this machine",
        ));
    };
    let filtered = !raw && io::stdout().is_terminal();
    if filtered {
        log = Box::new(VisibleLog::new(log));
    }
    let mut output = io::stdout().lock();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match log.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                context.note("the log ends here: the build still runs, or was killed");
                return Ok(());
            }
            Err(error) => return Err(CommandFailure::reading(&path)(error)),
        };
        match output.write_all(&buffer[..length]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(CommandFailure::writing("to standard output"))?,
        }
    }
}
