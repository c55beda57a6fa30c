// SPDX-License-Identifier: GPL-3.0-or-later
//! What the program costs where there is nothing to do: porters run it again and again while they work on one recipe.
//!
//! ```text
//! cargo bench --bench road -- [ROOT]
//! ```
//!
//! runs the program over the real road, the recipes and seeds that are built into it, twenty times for each command,
//! and prints the best and the median time and the ratio of the median to the mark: 50 ms for `all`, `build hello` and
//! `explain hello` with everything built; 50 ms as well for `list`, which plans the whole graph and looks into the
//! store (what planning alone takes is in the benchmark `plan`).
//!
//! The store is the one below ROOT, else the one in place. Where it has not everything built, which takes an hour and
//! more, that is said, and `list` and a dry run of `all` are measured alone.

use std::error::Error;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 20;
/// What a command may take when there is nothing to do.
const MARK: Duration = Duration::from_millis(50);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let root = std::env::args()
        .skip(1)
        .find(|argument| argument != "--bench");
    let road = Road { root };
    road.measure(&["list"])?;
    if road.is_built()? {
        road.measure(&["all"])?;
        road.measure(&["build", "hello"])?;
        road.measure(&["explain", "hello"])?;
    } else {
        println!(
            "not everything is built {}: what `all`, `build` and `explain` take then cannot be measured here; run \
             `bootstrap all` before",
            match &road.root {
                Some(root) => format!("below {root}"),
                None => "in /gnu/store".to_owned(),
            }
        );
        road.measure(&["all", "--dry-run"])?;
    }
    Ok(())
}

struct Road {
    root: Option<String>,
}

impl Road {
    /// The program, on a machine without any settings, and without a network.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BOOTSTRAP_") {
                command.env_remove(name);
            }
        }
        command.env("BOOTSTRAP_CONFIG", "").arg("--offline");
        if let Some(root) = &self.root {
            command.arg("--root").arg(root);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command(arguments).output()?;
        match output.status.success() {
            true => Ok(output),
            false => Err(format!(
                "`bootstrap {}` failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            )
            .into()),
        }
    }

    /// Whether `all` would have nothing to do. Asked before it is run: else it would build everything.
    fn is_built(&self) -> Result<bool> {
        let output = self.run(&["all", "--dry-run", "--json"])?;
        let forecast: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let is_empty = |list: &str| forecast[list].as_array().is_some_and(Vec::is_empty);
        Ok(is_empty("builds") && is_empty("downloads"))
    }

    fn measure(&self, arguments: &[&str]) -> Result<()> {
        self.run(arguments)?;
        let mut times = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let start = Instant::now();
            self.run(arguments)?;
            times.push(start.elapsed());
        }
        times.sort();
        let (best, median) = (times[0], times[RUNS / 2]);
        println!(
            "{:<16} best {:>6.1} ms, median {:>6.1} ms; ratio to {} ms: {:.2}",
            arguments.join(" "),
            best.as_secs_f64() * 1e3,
            median.as_secs_f64() * 1e3,
            MARK.as_millis(),
            median.as_secs_f64() / MARK.as_secs_f64()
        );
        Ok(())
    }
}
