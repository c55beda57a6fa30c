//! The end of each help: examples of each command, and for the program what holds for every command.

/// What ends the program's own help.
pub(super) const EXIT_STATUS: &str = "\
Packages: NAME for the final stage, stage0/NAME for stage0.

Exit status: 0 done; 1 a build failed; 2 wrong usage or a bad recipe; 3 hashes differ;
4 a source could not be fetched; 5 the environment is unfit (privileges, space, a lock held too long).";

/// What follows that at length, and in the manual page.
pub(super) const SETTINGS: &str = "\
Settings: every global option can be set in a file under its long name (max-jobs = 4), and in the
environment (BOOTSTRAP_MAX_JOBS=4). The command line comes first, then the environment, then the file;
`bootstrap config` shows each setting and where it is from.

Files:
  /etc/bootstrap.toml   settings
  /gnu/store            the store
  /var/guix             database, roots, locks and records of runs
  /var/log/guix         logs of builds
  /var/cache/bootstrap  downloads

Environment:
  BOOTSTRAP_CONFIG      another file of settings; empty for none
  BOOTSTRAP_ROOT        DIR of --root; so for every global option, in capitals and with _ for -
  TMPDIR                where build directories are made
  https_proxy           the proxy for downloads
  NO_COLOR              set to anything: no colours";

pub(super) const ALL_EXAMPLES: &str = "\
Examples:
  bootstrap all --dry-run
  bootstrap all --keep-going --progress plain 2>&1 | tee bootstrap.log
  bootstrap --root ~/try -j 2 all";

pub(super) const BUILD_EXAMPLES: &str = "\
Examples:
  bootstrap build sed grep
  bootstrap build --dependents sed
  bootstrap --keep-failed build gcc
  bootstrap --recipes ./recipes build stage0/make";

pub(super) const SHELL_EXAMPLES: &str = "\
Examples:
  bootstrap shell -- gcc --version
  bootstrap shell --of gcc
  bootstrap shell --of gcc --directory /tmp/guix-build-gcc-12.2.0.drv-0/build";

pub(super) const GRAPH_EXAMPLES: &str = "\
Examples:
  bootstrap graph --packages-only --reduce --format svg > road.svg
  bootstrap graph gcc | dot -Tpdf > gcc.pdf
  bootstrap graph --json | jq -r '.nodes[].label'";

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  bootstrap export --closure gcc --key /etc/bootstrap.key -o gcc.export
  bootstrap export hello | nix-store --import
  bootstrap export hello --key /etc/bootstrap.key | guix archive --import
  bootstrap export --guix bootstrap-inputs.scm";

pub(super) const PUBLISH_EXAMPLES: &str = "\
Examples:
  bootstrap key example.org-1 /etc/bootstrap.key
  bootstrap publish /srv/www/substitutes --key /etc/bootstrap.key
  bootstrap all --substitute-urls https://example.org/substitutes --trusted-keys \"$(cat bootstrap.key.pub)\"";

pub(super) const KEY_EXAMPLES: &str = "\
Examples:
  bootstrap key example.org-1 /etc/bootstrap.key
  bootstrap key --guix /etc/bootstrap.key | guix archive --authorize";

pub(super) const CONFIG_EXAMPLES: &str = "\
Every global option can be set in /etc/bootstrap.toml (or the file that BOOTSTRAP_CONFIG names), under its long name:
  seed = \"debian-12-amd64\"
  max-jobs = 4
  keep-failed = true
and in the environment: BOOTSTRAP_SEED, BOOTSTRAP_MAX_JOBS, BOOTSTRAP_KEEP_FAILED. The command line comes first, then
the environment, then the file.

Examples:
  bootstrap config
  bootstrap config --json | jq -r '.[] | select(.source != \"default\") | .name'
  BOOTSTRAP_CONFIG=./bootstrap.toml bootstrap config";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  bootstrap completions bash > /etc/bash_completion.d/bootstrap
  bootstrap completions zsh > ~/.zfunc/_bootstrap
  bootstrap completions fish > ~/.config/fish/completions/bootstrap.fish";

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  bootstrap report -o report.html
  bootstrap report --json | jq '.spans[] | select(.critical) | .label'";

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  bootstrap explain gcc
  bootstrap explain --json stage0/make";

pub(super) const FETCH_EXAMPLES: &str = "\
Examples:
  bootstrap fetch
  bootstrap fetch --dry-run gcc
  bootstrap fetch && bootstrap --offline all";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  bootstrap verify
  bootstrap verify --lock=bootstrap.lock
  bootstrap verify --rebuild --vary gcc
  bootstrap verify --diverse debian-12-amd64 debian-12-gcc-amd64
  bootstrap verify --sign key.pem > mine.json && bootstrap verify --compare mine.json theirs.json
  bootstrap verify --compare mine.json theirs.json --signed-by mine.pub --signed-by theirs.pub";

pub(super) const LOCK_EXAMPLES: &str = "\
Examples:
  bootstrap lock
  bootstrap lock /srv/www/bootstrap.lock";

pub(super) const LIST_EXAMPLES: &str = "\
Examples:
  bootstrap list
  bootstrap list --json | jq -r '.[] | select(.valid | not) | .name'";

pub(super) const SHOW_EXAMPLES: &str = "\
Examples:
  bootstrap show gcc
  bootstrap show --json stage0/make | jq -r .derivation";

pub(super) const PATH_EXAMPLES: &str = "\
Examples:
  bootstrap path gcc:lib
  \"$(bootstrap path hello)/bin/hello\"";

pub(super) const LOG_EXAMPLES: &str = "\
Examples:
  bootstrap log gcc | less
  bootstrap log stage0/gcc | grep -n warning";

pub(super) const GC_EXAMPLES: &str = "\
Examples:
  bootstrap gc --dry-run
  bootstrap gc --max-freed 10G
  bootstrap gc --keep-generations 2 --keep-derivations=no";

pub(super) const ROOTS_EXAMPLES: &str = "\
Examples:
  bootstrap roots
  bootstrap roots --json";

pub(super) const SEED_EXAMPLES: &str = "\
Examples:
  bootstrap seed list
  bootstrap seed show debian-12-amd64
  bootstrap --seeds ./seeds seed update debian-12-amd64";

pub(super) const IMPORT_EXAMPLES: &str = "\
Examples:
  bootstrap import gcc.export --trusted-keys \"$(cat bootstrap.key.pub)\"
  guix archive --export -r hello | bootstrap import --trusted-keys /etc/guix/signing-key.pub
  nix-store --export /gnu/store/…-hello-2.10 | bootstrap import --unsigned";

pub(super) const DAEMON_EXAMPLES: &str = "\
Examples:
  bootstrap daemon
  bootstrap --max-jobs 4 daemon --listen /var/guix/daemon-socket/socket --trusted-user @wheel
  ln -s \"$(command -v bootstrap)\" /usr/local/bin/guix-daemon && guix-daemon --build-users-group=guixbuild";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  bootstrap doctor
  bootstrap doctor --offline
  bootstrap doctor --json | jq -r '.[] | select(.state != \"good\") | .remedy'";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  bootstrap man /usr/local/share/man/man1
  bootstrap man ~/man/man1 && man -M ~/man bootstrap-all";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::Arguments;

    /// The calls of this program in a line of shell, each as words: as much of the shell's language as examples use.
    fn calls(line: &str) -> Vec<Vec<String>> {
        let (mut words, mut word) = (Vec::new(), String::new());
        let mut quote = None;
        for character in line.chars().chain([' ']) {
            match (quote, character) {
                (Some(open), _) if character == open => quote = None,
                (None, '"' | '\'') => quote = Some(character),
                (None, ' ') => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
                _ => word.push(character),
            }
        }
        assert_eq!(quote, None, "{line}");
        let commands = words.split(|word| ["|", "&&"].contains(&word.as_str()));
        commands
            .filter(|command| {
                command
                    .first()
                    .is_some_and(|program| program == "bootstrap")
            })
            .map(|command| {
                let redirected = |word: &String| [">", "2>&1"].contains(&word.as_str());
                let end = command.iter().position(redirected);
                command[..end.unwrap_or(command.len())].to_vec()
            })
            .collect()
    }

    #[test]
    fn every_command_has_examples_and_all_of_them_are_understood() {
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            let (_, examples) = help.split_once("Examples:\n").unwrap_or_default();
            let mut shown = 0;
            for line in examples.lines() {
                // A setting, or another command's input.
                let line = line
                    .trim()
                    .trim_start_matches("BOOTSTRAP_CONFIG=./bootstrap.toml ");
                let line = line.trim_start_matches("\"$(").replace(")/bin/hello\"", "");
                for call in calls(&line) {
                    shown += usize::from(call.iter().any(|word| word == name));
                    if let Err(error) = Arguments::try_parse_from(&call) {
                        panic!("{call:?}: {error}");
                    }
                }
            }
            assert!(shown >= 1, "{name}: {help}");
        }
    }
}
