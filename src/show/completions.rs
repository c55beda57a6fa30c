// SPDX-License-Identifier: GPL-3.0-or-later
//! Scripts that complete command lines in shells. They ask `bootstrap names` what packages, outputs and seeds are
//! called.
//!
//! clap_complete writes commands and options. It knows nothing of names, so each script gets an end of our own, which
//! follows from where arguments are called `PKG`, or are the name of a seed.

use std::collections::BTreeSet;

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

/// Commands that are about a build, which makes every output: their packages are named without one.
const WITHOUT_OUTPUTS: [&str; 4] = ["explain", "graph", "log", "show"];

/// What packages are called, one a line: `NAME`, and with `outputs` also `NAME:OUTPUT` for each but `out`.
pub fn package_names(planned: &Planned, outputs: bool) -> String {
    let mut text = String::new();
    let nodes = planned.plan.nodes().iter();
    for node in nodes.filter(|node| node.stage.is_some()) {
        text.push_str(&format!("{}\n", node.label));
        let others = node.outputs.iter().filter(|output| *output != "out");
        for output in others.filter(|_| outputs) {
            text.push_str(&format!("{}:{output}\n", node.label));
        }
    }
    text
}

/// Where names are completed.
struct CompletionPlaces {
    /// Commands whose arguments are packages or their outputs.
    outputs: Vec<String>,
    /// Commands whose arguments are packages.
    packages: Vec<String>,
    /// Options whose value is a package, with dashes.
    package_options: Vec<String>,
    /// Commands of `seed` whose argument is a seed.
    seeds: Vec<String>,
    /// Options whose value is a seed, with dashes.
    seed_options: Vec<String>,
    /// Options that two seeds follow, each a word of its own, with dashes.
    seed_pairs: Vec<String>,
    /// Options with a value that is neither, with dashes, by both of their names.
    other_options: BTreeSet<String>,
    /// Commands with an argument of few possible values, and those.
    choices: Vec<(String, Vec<String>)>,
}

fn places(command: &Command) -> CompletionPlaces {
    let is_package = |one: &&Arg| value_name(one) == Some("PKG");
    let commands: Vec<&Command> = command.get_subcommands().collect();
    let name = |command: &Command| command.get_name().to_owned();
    let with_packages = commands
        .iter()
        .filter(|command| command.get_positionals().any(|one| is_package(&one)));
    let (packages, outputs) = with_packages
        .map(|command| name(command))
        .partition(|name| WITHOUT_OUTPUTS.contains(&name.as_str()));
    let options = || commands.iter().flat_map(|command| command.get_opts());
    let option = |one: &Arg| one.get_long().map(|name| format!("--{name}"));
    let seeds = commands.iter().find(|command| command.get_name() == "seed");
    let seeds = seeds.iter().flat_map(|seed| seed.get_subcommands());
    let seed_option = command.get_opts().filter(|one| one.get_id() == "seed");
    let seed_pairs = options().filter(|one| value_name(one) == Some("SEED_A"));
    let seed_pairs: Vec<String> = seed_pairs.filter_map(option).collect();
    let package_options: Vec<String> = options().filter(is_package).filter_map(option).collect();
    let seed_options: Vec<String> = seed_option.filter_map(option).collect();
    let all = command.get_opts().chain(options());
    let mut other_options: BTreeSet<String> = all
        .filter(|one| one.get_action().takes_values())
        .flat_map(|one| {
            let short = one.get_short().map(|letter| format!("-{letter}"));
            option(one).into_iter().chain(short)
        })
        .collect();
    for option in package_options
        .iter()
        .chain(&seed_options)
        .chain(&seed_pairs)
    {
        other_options.remove(option);
    }
    let choices = commands.iter().flat_map(|command| {
        let arguments = command.get_positionals();
        arguments.map(|one| (name(command), possible_values(one)))
    });
    CompletionPlaces {
        outputs,
        packages,
        package_options,
        seeds: seeds
            .filter(|seed| seed.get_positionals().next().is_some())
            .map(name)
            .collect(),
        seed_options,
        seed_pairs,
        other_options,
        choices: choices.filter(|(_, values)| !values.is_empty()).collect(),
    }
}

fn possible_values(one: &Arg) -> Vec<String> {
    let values = one.get_possible_values().into_iter();
    values.map(|value| value.get_name().to_owned()).collect()
}

fn value_name(one: &Arg) -> Option<&str> {
    Some(one.get_value_names()?.first()?.as_str())
}

/// Completes by the function of clap_complete, and adds names. The names are those of the recipes and seeds that the
/// line names.
fn bash(places: &CompletionPlaces) -> String {
    let either = |words: &[String]| words.join("|");
    let commands = [&places.outputs[..], &places.packages].concat();
    let options = [&places.package_options[..], &places.seed_options].concat();
    format!(
        r#"
_bootstrap_with_names() {{
    _bootstrap "$@"
    local line=${{COMP_LINE:0:COMP_POINT}} names= word command= earlier= previous=
    local -a given=()
    # The whole word: to bash a colon or an equals sign ends one.
    local current=${{line##* }} option=
    for word in ${{line% *}}; do
        case $command:$word in
            seed:{seeds_of_seed}) command=$word-of-seeds ;;
            :{commands}|:seed) command=$word ;;
        esac
        case $previous in
            --recipes|--seeds|--seed|--system) given+=("$previous=${{word/#\~\//$HOME/}}") ;;
        esac
        case $word in
            --recipes=*|--seeds=*|--seed=*|--system=*) given+=("$word") ;;
        esac
        earlier=$previous previous=$word
    done
    case $current in
        {options_with_value}) previous=${{current%%=*}} current=${{current#*=}} option=$previous= ;;
    esac
    case $previous in
        {package_options}) names=packages-without-outputs ;;
        {seed_options}|{seed_pairs}) names=seeds ;;
        # What the function of clap_complete found.
        {other_options}) return 0 ;;
    esac
    case $earlier in
        {seed_pairs}) names=seeds ;;
    esac
    if [[ -n $names ]]; then
        # No files or commands in place of a name.
        COMPREPLY=()
    elif [[ $current != -* ]]; then
        case $command in
            {outputs}) names=packages ;;
            {packages}) names=packages-without-outputs ;;
            *-of-seeds) names=seeds ;;
        esac
    fi
    [[ -n $names ]] || return 0
    # Bash replaces what follows the last break alone.
    local found before=
    [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] && before=${{current%:*}}:
    [[ -n $before || $COMP_WORDBREAKS == *=* ]] && option=
    while read -r found; do
        COMPREPLY+=("$option${{found#"$before"}}")
    done < <(compgen -W "$(bootstrap "${{given[@]}}" names "$names" 2>/dev/null)" -- "$current")
}}
complete -F _bootstrap_with_names -o nosort -o bashdefault -o default bootstrap 2>/dev/null ||
    complete -F _bootstrap_with_names -o bashdefault -o default bootstrap
"#,
        commands = commands.join("|:"),
        outputs = either(&places.outputs),
        packages = either(&places.packages),
        package_options = either(&places.package_options),
        seeds_of_seed = places.seeds.join("|seed:"),
        seed_options = either(&places.seed_options),
        seed_pairs = either(&places.seed_pairs),
        other_options = either(&places.other_options.iter().cloned().collect::<Vec<_>>()),
        options_with_value = format_args!("{}=*", options.join("=*|")),
    )
}

/// The script, where names complete what would else be files.
fn zsh(script: &str) -> String {
    let mut text = String::new();
    let mut command = "";
    for line in script.lines() {
        // Before the arguments of a command, its name.
        let name = line
            .strip_prefix('(')
            .and_then(|line| line.strip_suffix(')'));
        command = name.unwrap_or(command);
        let is_argument = ["::packages -- ", "':package -- ", "'::package -- "];
        let is_seed = ["'--seed=[", "'::name -- The seed ", ":SEED_A:"];
        let has = |signs: &[&str]| signs.iter().any(|sign| line.contains(sign));
        let without_outputs = WITHOUT_OUTPUTS.contains(&command) || line.contains(":PKG:_default");
        let completer = match line {
            _ if has(&is_seed) => "_bootstrap_seeds",
            _ if !has(&is_argument) && !line.contains(":PKG:_default") => "_default",
            _ if without_outputs => "_bootstrap_packages",
            _ => "_bootstrap_outputs",
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
_bootstrap_names() {
    local -a names given
    local word previous
    # Not `words`, which holds the words of the command alone.
    for word in ${(z)LBUFFER}; do
        word=${(Q)word}
        case $previous in
            (--recipes|--seeds|--seed|--system) given+=("$previous=${word/#\~\//$HOME/}") ;;
        esac
        case $word in
            (--recipes=*|--seeds=*|--seed=*|--system=*) given+=("$word") ;;
        esac
        previous=$word
    done
    names=(${(f)"$(bootstrap $given names $1 2>/dev/null)"})
    compadd -a names
}
_bootstrap_outputs() {
    _bootstrap_names packages
}
_bootstrap_packages() {
    _bootstrap_names packages-without-outputs
}
_bootstrap_seeds() {
    _bootstrap_names seeds
}
"#;

/// Completes by the rules of clap_complete, and adds names.
fn fish(places: &CompletionPlaces) -> String {
    let mut text = FISH_NAMES.to_owned();
    for (command, values) in &places.choices {
        let condition = format!(" -n \"__fish_bootstrap_using_subcommand {command}\"");
        text.push_str(&format!(
            "complete -c bootstrap{condition} -f -a \"{}\"\n",
            values.join(" ")
        ));
    }
    let mut names = |condition: &str, option: &str, what: &str| {
        text.push_str(&format!(
            "complete -c bootstrap{condition}{option} -a \"(__bootstrap_names {what})\"\n"
        ));
    };
    let after = |option: &String| format!("__bootstrap_is_second_after {option}");
    let others: String = places
        .seed_pairs
        .iter()
        .map(|option| format!("; and not {}", after(option)))
        .collect();
    for (commands, what) in [
        (&places.outputs, "packages"),
        (&places.packages, "packages-without-outputs"),
    ] {
        for command in commands {
            let condition = format!(" -n \"__fish_bootstrap_using_subcommand {command}{others}\"");
            names(&condition, " -f", what);
        }
    }
    for command in &places.seeds {
        let condition = format!(
            " -n \"__fish_bootstrap_using_subcommand seed; and __fish_seen_subcommand_from {command}\""
        );
        names(&condition, " -f", "seeds");
    }
    let long = |option: &String| format!(" -l {} -x", option.trim_start_matches('-'));
    for option in &places.package_options {
        names("", &long(option), "packages-without-outputs");
    }
    for option in places.seed_options.iter().chain(&places.seed_pairs) {
        names("", &long(option), "seeds");
    }
    for option in &places.seed_pairs {
        names(&format!(" -n \"{}\"", after(option)), " -f", "seeds");
    }
    text
}

const FISH_NAMES: &str = r#"
function __bootstrap_names
    set -l given
    set -l previous
    for word in (commandline -opc)
        if contains -- "$previous" --recipes --seeds --seed --system
            set -a given $previous=(string replace -r '^~/' $HOME/ -- $word)
        else if string match -qr -- '^--(recipes|seeds|seed|system)=' $word
            set -a given $word
        end
        set previous $word
    end
    bootstrap $given names $argv 2>/dev/null
end

function __bootstrap_is_second_after
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[-2]" = "$argv[1]"
end

"#;

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
                    .short('c')
                    .value_parser(value_parser!(u16))
                    .help("Cores"),
            )
            .subcommand(package("build"))
            .subcommand(package("log"))
            .subcommand(package("shell").arg(of))
            .subcommand(Command::new("verify").arg(diverse))
            .subcommand(key)
            .subcommand(
                Command::new("completions").arg(Arg::new("shell").value_parser(["bash", "fish"])),
            )
            .subcommand(
                Command::new("seed")
                    .subcommand(seed)
                    .subcommand(Command::new("list")),
            )
    }

    #[test]
    fn arguments_that_are_packages_or_seeds_are_found() {
        let places = places(&command());
        assert_eq!(places.outputs, ["build", "shell"]);
        assert_eq!(places.packages, ["log"]);
        assert_eq!(places.package_options, ["--of"]);
        assert_eq!(places.seeds, ["show"]);
        assert_eq!(places.seed_options, ["--seed"]);
        assert_eq!(places.seed_pairs, ["--diverse"]);
        assert_eq!(Vec::from_iter(places.other_options), ["--cores", "-c"]);
        let shells = ["bash", "fish"].map(str::to_owned).to_vec();
        assert_eq!(places.choices, [("completions".to_owned(), shells)]);
    }

    #[test]
    fn zsh_completes_them_and_nothing_else_by_names() {
        let script = script(&command(), Shell::Zsh);
        // Those of `build` and `shell`, and of `log` and `shell --of`, which want no output.
        for completer in [":_bootstrap_outputs'", ":_bootstrap_packages'"] {
            assert_eq!(script.matches(completer).count(), 2, "{script}");
        }
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
