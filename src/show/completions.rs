// SPDX-License-Identifier: GPL-3.0-or-later
//! Scripts that complete command lines in shells. They ask `bootstrap names` what packages, outputs and seeds are
//! called.
//!
//! clap_complete writes commands and options. It knows nothing of names, so each script gets an end of our own, which
//! follows from where arguments are called `PKG`, or are the name of a seed.

use clap::{Arg, Command};
use clap_complete::Shell;

use crate::engine::Planned;

/// The script for `shell`, which completes `command`.
pub fn script(command: &Command, shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command.clone(), "bootstrap", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let places = places(command);
    match shell {
        Shell::Bash => script + &bash(&places),
        Shell::Zsh => zsh(&script),
        Shell::Fish => script + &fish(&places),
        _ => script,
    }
}

/// What packages and their outputs are called, one a line: `NAME`, and `NAME:OUTPUT` for each but `out`.
pub fn package_names(planned: &Planned) -> String {
    let mut text = String::new();
    let nodes = planned.plan.nodes().iter();
    for node in nodes.filter(|node| node.stage.is_some()) {
        text.push_str(&format!("{}\n", node.label));
        for output in node.outputs.iter().filter(|output| *output != "out") {
            text.push_str(&format!("{}:{output}\n", node.label));
        }
    }
    text
}

/// Where names are completed.
struct CompletionPlaces {
    /// Commands whose arguments are packages.
    packages: Vec<String>,
    /// Options whose value is a package, with dashes.
    package_options: Vec<String>,
    /// Commands of `seed` whose argument is a seed.
    seeds: Vec<String>,
    /// Options whose value is a seed, with dashes.
    seed_options: Vec<String>,
}

fn places(command: &Command) -> CompletionPlaces {
    let is_package = |one: &&Arg| value_name(one) == Some("PKG");
    let commands: Vec<&Command> = command.get_subcommands().collect();
    let with_packages = commands
        .iter()
        .filter(|command| command.get_positionals().any(|one| is_package(&one)));
    let options = commands.iter().flat_map(|command| command.get_opts());
    let option = |one: &Arg| one.get_long().map(|name| format!("--{name}"));
    let seeds = commands.iter().find(|command| command.get_name() == "seed");
    let seeds = seeds.iter().flat_map(|seed| seed.get_subcommands());
    let name = |command: &Command| command.get_name().to_owned();
    let seed_option = command.get_opts().filter(|one| one.get_id() == "seed");
    let of_commands = commands.iter().flat_map(|command| command.get_opts());
    let seed_option =
        seed_option.chain(of_commands.filter(|one| value_name(one) == Some("SEED_A")));
    CompletionPlaces {
        packages: with_packages.map(|command| name(command)).collect(),
        package_options: options.filter(is_package).filter_map(option).collect(),
        seeds: seeds
            .filter(|seed| seed.get_positionals().next().is_some())
            .map(name)
            .collect(),
        seed_options: seed_option.filter_map(option).collect(),
    }
}

fn value_name(one: &Arg) -> Option<&str> {
    Some(one.get_value_names()?.first()?.as_str())
}

/// Completes by the function of clap_complete, and adds names.
fn bash(places: &CompletionPlaces) -> String {
    let either = |words: &[String]| words.join("|");
    format!(
        r#"
_bootstrap_with_names() {{
    _bootstrap "$@"
    local line=${{COMP_LINE:0:COMP_POINT}} names= word command= previous=
    # The whole word: to bash a colon ends one.
    local current=${{line##* }}
    for word in ${{line% *}}; do
        case $command:$word in
            seed:{seeds_of_seed}) command=$word-of-seeds ;;
            :{packages_of_none}|:seed) command=$word ;;
        esac
        previous=$word
    done
    case $previous in
        {package_options}) names=packages ;;
        {seed_options}) names=seeds ;;
        *)
            case $command in
                {packages}) [[ $current == -* ]] || names=packages ;;
                *-of-seeds) [[ $current == -* ]] || names=seeds ;;
            esac
            ;;
    esac
    [[ -n $names ]] || return 0
    local found before=
    [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] && before=${{current%:*}}:
    while read -r found; do
        COMPREPLY+=("${{found#"$before"}}")
    done < <(compgen -W "$(bootstrap names "$names" 2>/dev/null)" -- "$current")
}}
complete -F _bootstrap_with_names -o nosort -o bashdefault -o default bootstrap 2>/dev/null ||
    complete -F _bootstrap_with_names -o bashdefault -o default bootstrap
"#,
        packages = either(&places.packages),
        packages_of_none = places.packages.join("|:"),
        package_options = either(&places.package_options),
        seeds_of_seed = places.seeds.join("|seed:"),
        seed_options = either(&places.seed_options),
    )
}

/// The script, where names complete what would else be files.
fn zsh(script: &str) -> String {
    let mut text = String::new();
    for line in script.lines() {
        let is_package = [
            ":PKG:_default",
            "::packages -- ",
            "':package -- ",
            "'::package -- ",
        ];
        let is_seed = ["'--seed=[", "'::name -- The seed ", ":SEED_A:"];
        let completer = match line {
            _ if is_seed.iter().any(|sign| line.contains(sign)) => "_bootstrap_seeds",
            _ if is_package.iter().any(|sign| line.contains(sign)) => "_bootstrap_packages",
            _ => "_default",
        };
        text.push_str(&line.replace(":_default", &format!(":{completer}")));
        text.push('\n');
        if line.starts_with("#compdef") {
            text.push_str(ZSH_NAMES);
        }
    }
    text
}

const ZSH_NAMES: &str = r#"
_bootstrap_packages() {
    local -a names
    names=(${(f)"$(bootstrap names packages 2>/dev/null)"})
    compadd -a names
}
_bootstrap_seeds() {
    local -a names
    names=(${(f)"$(bootstrap names seeds 2>/dev/null)"})
    compadd -a names
}
"#;

fn fish(places: &CompletionPlaces) -> String {
    let mut text = String::new();
    let mut names = |condition: &str, option: &str, what: &str| {
        text.push_str(&format!(
            "complete -c bootstrap{condition}{option} -a \"(bootstrap names {what} 2>/dev/null)\"\n"
        ));
    };
    for command in &places.packages {
        let condition = format!(" -n \"__fish_seen_subcommand_from {command}\"");
        names(&condition, " -f", "packages");
    }
    for command in &places.seeds {
        let condition = format!(
            " -n \"__fish_seen_subcommand_from seed; and __fish_seen_subcommand_from {command}\""
        );
        names(&condition, " -f", "seeds");
    }
    let long = |option: &String| format!(" -l {} -x", option.trim_start_matches('-'));
    for option in &places.package_options {
        names("", &long(option), "packages");
    }
    for option in &places.seed_options {
        names("", &long(option), "seeds");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::value_parser;

    use super::*;

    fn command() -> Command {
        let package = |name: &'static str| {
            Command::new(name).arg(Arg::new("package").value_name("PKG").help("The package"))
        };
        let seed =
            Command::new("show").arg(Arg::new("name").value_name("NAME").help("The seed of all"));
        let key =
            Command::new("key").arg(Arg::new("name").value_name("NAME").help("What to call it"));
        let of = Arg::new("of").long("of").value_name("PKG").help("Of");
        let diverse = Arg::new("diverse").long("diverse");
        let diverse = diverse.num_args(2).value_names(["SEED_A", "SEED_B"]);
        Command::new("bootstrap")
            .arg(
                Arg::new("seed")
                    .long("seed")
                    .global(true)
                    .value_name("NAME")
                    .help("The seed"),
            )
            .arg(
                Arg::new("cores")
                    .long("cores")
                    .value_parser(value_parser!(u16))
                    .help("Cores"),
            )
            .subcommand(package("build"))
            .subcommand(package("shell").arg(of))
            .subcommand(Command::new("verify").arg(diverse))
            .subcommand(key)
            .subcommand(
                Command::new("seed")
                    .subcommand(seed)
                    .subcommand(Command::new("list")),
            )
    }

    #[test]
    fn arguments_that_are_packages_or_seeds_are_found() {
        let places = places(&command());
        assert_eq!(places.packages, ["build", "shell"]);
        assert_eq!(places.package_options, ["--of"]);
        assert_eq!(places.seeds, ["show"]);
        assert_eq!(places.seed_options, ["--seed", "--diverse"]);
    }

    #[test]
    fn zsh_completes_them_and_nothing_else_by_names() {
        let script = script(&command(), Shell::Zsh);
        assert_eq!(
            script.matches(":_bootstrap_packages'").count(),
            3,
            "{script}"
        );
        let seeds = |line: &&str| line.contains(":_bootstrap_seeds");
        let lines: Vec<&str> = script.lines().filter(seeds).collect();
        assert!(
            lines
                .iter()
                .any(|line| line.contains("::name -- The seed of all")),
            "{lines:?}"
        );
        assert!(
            !lines.iter().any(|line| line.contains("What to call it")),
            "{lines:?}"
        );
    }
}
