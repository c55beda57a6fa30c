//! The `bootstrap` command.

fn main() {
    // The sandbox's helper is this program itself, and must do nothing else first.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == bootstrap::sandbox::INIT_ARGUMENT)
    {
        bootstrap::sandbox::init_main();
    }
}
