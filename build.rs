// SPDX-License-Identifier: GPL-3.0-or-later
//! Tells cargo what the binary embeds: `include_dir!` reads the folders without cargo's knowledge. And the binary, what
//! it was compiled by and for.

use std::process::Command;

fn main() {
    for folder in ["recipes", "stage0", "seeds"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    let output = Command::new(variable("RUSTC")).arg("--version").output();
    let compiler = output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let compiler = compiler.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=BOOTSTRAP_TARGET={}", variable("TARGET"));
    println!("cargo:rustc-env=BOOTSTRAP_RUSTC={}", compiler.trim());
}
