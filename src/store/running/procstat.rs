// SPDX-License-Identifier: GPL-3.0-or-later
//! What FreeBSD's procstat(1), which is part of the base, reports on processes.
//!
//! Its tables start each line with the number of the process; an environment with line breaks in it goes on in lines
//! that do not, or that only look as if they did, and then a path is another process's: it is spared all the same.

use super::ProcessReferences;
#[cfg(target_os = "freebsd")]
use crate::formats::visible::visible;
#[cfg(target_os = "freebsd")]
use crate::limited_output;

/// What is asked for: executables; mapped files; working directories and open files; environments. Of a file with
/// several names, as deduplication makes them, only the first table has the name that was used: the others may have
/// another item's, or one of `.links`. But an item keeps what it refers to.
#[cfg(target_os = "freebsd")]
const TABLES: [&str; 4] = ["-b", "-v", "-f", "-e"];

/// Looks at all processes.
#[cfg(target_os = "freebsd")]
pub(super) fn scan_processes(found: &mut ProcessReferences) {
    for table in TABLES {
        let mut procstat = std::process::Command::new("/usr/bin/procstat");
        procstat
            .args(["-a", "-h", table])
            .stdin(std::process::Stdio::null());
        let answer = limited_output::output(&mut procstat, limited_output::LISTING);
        // Its status is not 0 where a process ended meanwhile; but there is always this one.
        let problem = match answer {
            Ok(answer) if answer.stdout.is_empty() => {
                visible(String::from_utf8_lossy(&answer.stderr).trim())
            }
            Ok(answer) => {
                scan(&answer.stdout, found);
                continue;
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            "/usr/bin/procstat -a {table} lists nothing: {problem}; items that only running programs use are not kept, so end \
             those that are from the store before garbage is collected"
        );
    }
}

/// Looks for store paths in a table.
fn scan(table: &[u8], found: &mut ProcessReferences) {
    let mut process = 0;
    for line in table.split(|byte| *byte == b'\n') {
        let first = line.trim_ascii_start().split(|byte| *byte == b' ').next();
        let number = first.and_then(|first| std::str::from_utf8(first).ok()?.parse().ok());
        process = number.unwrap_or(process);
        found.scan(process, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::store_path::StoreDir;
    use crate::store::directories::Directories;

    #[test]
    fn tables_are_read_line_by_line() {
        let name = |letter: &str| format!("{}-{letter}", letter.repeat(32));
        let store_dir = StoreDir::new("/gnu/store").unwrap();
        let mut found = ProcessReferences::new(&Directories::new(store_dir, None));
        let table = format!(
            "  650 guile            1500068 /gnu/store/{}/bin/guile\n\
             \x20 812   0x200000   0x20a000 r--   10   30   3   1 CN--- vn /gnu/store/{}/bin/bash\n\
             \x20 812 bash   text v r r-------   -       - -   /gnu/store/{}/bin/bash\n\
             90210 bash   PATH=/gnu/store/{}/bin X=two\n\
             lines of /gnu/store/{}\n",
            name("f"),
            name("a"),
            name("b"),
            name("c"),
            name("d")
        );
        scan(table.as_bytes(), &mut found);
        let items: Vec<_> = found
            .items()
            .into_iter()
            .map(|(process, path)| (process, path.name().to_owned()))
            .collect();
        let of = |process, name: &str| (process, name.to_owned());
        assert_eq!(
            items,
            [
                of(650, "f"),
                of(812, "a"),
                of(812, "b"),
                of(90210, "c"),
                of(90210, "d")
            ]
        );
    }
}
