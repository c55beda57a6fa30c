//! The `bootstrap` command.

fn main() {}
