//! The `bootstrap` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments
        .nth(1)
        .is_some_and(|first| first == bootstrap::sandbox::INIT_ARGUMENT)
    {
        // The sandbox's first process is this program, too. It must not do anything before that.
        bootstrap::sandbox::init_main();
    }
    bootstrap::cli::main(std::env::args_os())
}
