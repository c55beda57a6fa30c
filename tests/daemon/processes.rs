// SPDX-License-Identifier: GPL-3.0-or-later
//! The machine's processes: by /proc on Linux, elsewhere by ps(1) and procstat(1).

pub use platform::{arguments, called, children, descriptors, exists, with_argument};

#[cfg(target_os = "linux")]
mod platform {
    use std::fs;
    use std::path::Path;

    /// The children of the process `number`.
    pub fn children(number: u32) -> Vec<u32> {
        let mut children = Vec::new();
        let tasks = fs::read_dir(format!("/proc/{number}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            children.extend(
                text.split_whitespace()
                    .map(|child| child.parse::<u32>().unwrap()),
            );
        }
        children
    }

    /// How many descriptors the process `number` has open.
    pub fn descriptors(number: u32) -> usize {
        fs::read_dir(format!("/proc/{number}/fd")).unwrap().count()
    }

    /// Whether the process is there.
    pub fn exists(number: &str) -> bool {
        Path::new("/proc").join(number).exists()
    }

    /// The processes whose file `file` in /proc holds what `is_so` says.
    fn which(file: &str, is_so: impl Fn(&str) -> bool) -> Vec<u32> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let numbers = processes.filter_map(|process| {
            let number = process.file_name().to_str()?.parse().ok()?;
            let text = fs::read(process.path().join(file)).ok()?;
            is_so(&String::from_utf8_lossy(&text)).then_some(number)
        });
        numbers.collect()
    }

    /// How many processes run a program whose name begins with `name`.
    pub fn called(name: &str) -> usize {
        which("comm", |command| command.starts_with(name)).len()
    }

    /// The arguments of the process `number`, with its name first, separated by zero bytes.
    pub fn arguments(number: u32) -> String {
        let arguments = fs::read(format!("/proc/{number}/cmdline")).unwrap();
        String::from_utf8_lossy(&arguments).into_owned()
    }

    /// The processes whose arguments contain `text`.
    pub fn with_argument(text: &str) -> Vec<u32> {
        which("cmdline", |arguments| arguments.contains(text))
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::process::Command;

    /// What `program` prints, line by line.
    fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
        let output = Command::new(program).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// For each process that has not ended, a number and `column`.
    fn all(number: &str, column: &str) -> Vec<(u32, String)> {
        // Each column by itself: what follows `=` in one argument would all be its title.
        let columns = [
            "state=".to_owned(),
            format!("{number}="),
            format!("{column}="),
        ];
        let columns = columns.iter().flat_map(|column| ["-o", column]);
        let arguments: Vec<&str> = ["-A", "-ww"].into_iter().chain(columns).collect();
        let lines = lines("ps", &arguments);
        let parts = lines.iter().filter_map(|line| {
            let (state, line) = line.trim_start().split_once(' ')?;
            let (number, rest) = line.trim_start().split_once(' ')?;
            let living = !state.starts_with('Z');
            living.then(|| (number.parse().unwrap(), rest.trim().to_owned()))
        });
        parts.collect()
    }

    /// The children of the process `number`.
    pub fn children(number: u32) -> Vec<u32> {
        let all = all("ppid", "pid").into_iter();
        all.filter(|(parent, _)| *parent == number)
            .map(|(_, child)| child.parse().unwrap())
            .collect()
    }

    /// How many descriptors the process `number` has open.
    pub fn descriptors(number: u32) -> usize {
        lines("procstat", &["-h", "-f", &number.to_string()]).len()
    }

    /// Whether the process is there.
    pub fn exists(number: &str) -> bool {
        all("pid", "comm")
            .iter()
            .any(|(there, _)| there.to_string() == number)
    }

    /// How many processes run a program whose name begins with `name`.
    pub fn called(name: &str) -> usize {
        all("pid", "comm")
            .iter()
            .filter(|(_, command)| command.starts_with(name))
            .count()
    }

    /// The arguments of the process `number`, with its name first, separated by blanks.
    pub fn arguments(number: u32) -> String {
        let all = all("pid", "args").into_iter();
        let mut its_own = all.filter(|(there, _)| *there == number);
        its_own.next().unwrap().1
    }

    /// The processes whose arguments contain `text`.
    pub fn with_argument(text: &str) -> Vec<u32> {
        let all = all("pid", "args").into_iter();
        all.filter(|(_, arguments)| arguments.contains(text))
            .map(|(number, _)| number)
            .collect()
    }
}
