//! `log`: what a build printed.

use std::io::{self, Read, Write};

use super::context::Context;
use super::failure::Failure;
use crate::builder::log::{log_path, open_log};

/// `bootstrap log PKG`.
pub fn log(context: &Context, name: &str) -> Result<(), Failure> {
    let planned = context.plan()?;
    let node = match planned.package(name) {
        Ok((node, _)) => node,
        // A source made again in a larger root is no package, but has a log.
        Err(failure) => match planned.plan.get(name) {
            Some(node) => node,
            None => return Err(failure.into()),
        },
    };
    let path = log_path(&context.directories.log, &node.derivation_path);
    let opened = open_log(&context.directories.log, &node.derivation_path);
    let Some(mut log) = opened.map_err(Failure::reading(&path))? else {
        let label = &node.label;
        return Err(Failure::usage(
            format!(
                "no log of {label} at {}: it was not built here",
                path.display()
            ),
            format!("run `bootstrap build {label}`"),
        ));
    };
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
            Err(error) => return Err(Failure::reading(&path)(error)),
        };
        match output.write_all(&buffer[..length]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(Failure::writing("to standard output"))?,
        }
    }
}
