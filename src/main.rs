//! The `bootstrap` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    bootstrap::cli::main(std::env::args_os())
}
