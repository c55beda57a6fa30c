// SPDX-License-Identifier: GPL-3.0-or-later
//! The layers of `src`: a module imports only from layers below its own, peers do not know each other, and siblings
//! form no circles. `docs/architecture.md` draws the layers.

// These lints spare test functions, but not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

mod imports;
mod self_tests;

use imports::{absolute, code_of, functions_of, lines_of_code, module_of, named, used};

/// The layers, bottom to top. Modules of one layer do not import from each other.
const LAYERS: [&[&str]; 8] = [
    &[
        "diagnostics",
        "formats",
        "events",
        "free_space",
        "limited_file",
        "limited_output",
        "process_limit",
        "process_messages",
        "threads",
    ],
    &["atomic_file", "key_files"],
    &["store", "sandbox", "fetch", "archive"],
    &["builder"],
    &["road", "verify", "exchange"],
    &["engine"],
    &["show"],
    &["cli", "daemon"],
];

/// Imports between peers that the design allows: the first may import from the second.
const ALLOWED: [(&str, &str); 5] = [
    // The command `daemon` starts it.
    ("cli", "daemon"),
    // The events of a run name derivations, and its errors carry hints.
    ("formats", "diagnostics"),
    ("events", "formats"),
    // Sources and seeds are unpacked where they are fetched to.
    ("archive", "store"),
    ("fetch", "archive"),
];

/// Faults that are known and on their way out. One that is gone must be removed here.
const KNOWN: &[&str] = &[];

/// The layers of which the command line uses types only.
const ENGINE_ROOM: [&str; 2] = ["builder", "store"];

/// The functions of theirs that the command line calls: they make arguments of the engine's functions, nothing else.
const ARGUMENTS: [&str; 2] = ["CollectOptions::default", "Directories::new"];

/// The largest number of lines of code in `src/cli`: lines that are not blank, comments or tests.
const CLI_LINES: usize = 4000;

/// The names of a path: `crate::a::B` is `["a", "B"]`.
type Names = Vec<String>;

/// One source file.
struct Source {
    module: Names,
    /// Its code without comments, strings and tests.
    code: String,
}

/// A whole tree of sources.
struct Tree {
    sources: Vec<Source>,
    modules: BTreeSet<Names>,
    /// For a module and a name, the module that it re-exports the name from.
    exports: BTreeMap<(Names, String), Names>,
}

/// An import: who, of what module, and the names behind it.
struct Import {
    from: Names,
    to: Names,
    rest: Names,
}

impl Tree {
    fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut sources: Vec<Source> = files
            .into_iter()
            .map(|(path, text)| Source {
                module: module_of(&path),
                code: code_of(&text),
            })
            .filter(|source| !source.module.iter().any(|name| is_test(name)))
            .collect();
        sources.sort_by(|one, other| one.module.cmp(&other.module));
        let modules = sources.iter().map(|source| source.module.clone()).collect();
        let mut tree = Self {
            sources,
            modules,
            exports: BTreeMap::new(),
        };
        let mut exports = BTreeMap::new();
        for source in &tree.sources {
            for path in used(&source.code, "pub use") {
                let child = [source.module.clone(), path[..1].to_vec()].concat();
                if let (true, Some(name)) = (tree.modules.contains(&child), path.last()) {
                    exports.insert((source.module.clone(), name.clone()), child);
                }
            }
        }
        tree.exports = exports;
        tree
    }

    fn read(root: &Path) -> Self {
        Self::new(files_below(root))
    }

    fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for source in &self.sources {
            let mut paths = used(&source.code, "use");
            paths.extend(named(&source.code));
            for path in paths {
                let Some(absolute) = absolute(&source.module, path) else {
                    continue;
                };
                imports.push(self.resolve(&source.module, absolute));
            }
        }
        imports
    }

    /// Finds the module that `path` leads to, through re-exports of a module above `from`.
    fn resolve(&self, from: &Names, path: Names) -> Import {
        let mut length = path.len();
        while length > 0 && !self.modules.contains(&path[..length]) {
            length -= 1;
        }
        let (mut to, rest) = (path[..length].to_vec(), path[length..].to_vec());
        if from.starts_with(&to)
            && let Some(name) = rest.first()
            && let Some(child) = self.exports.get(&(to.clone(), name.clone()))
        {
            to.clone_from(child);
        }
        Import {
            from: from.clone(),
            to,
            rest,
        }
    }

    /// Everything that is wrong, sorted.
    fn faults(&self) -> BTreeSet<String> {
        let imports = self.imports();
        let mut faults = self.circles(&imports);
        for import in &imports {
            faults.extend(upward(import));
            faults.extend(named_by_cli(import));
            faults.extend(self.called_by_cli(import));
        }
        for source in &self.sources {
            let is_format = source.module.first().is_some_and(|name| name == "formats");
            if is_format
                && ["std::fs", "rustix::fs"]
                    .iter()
                    .any(|path| source.code.contains(path))
            {
                faults.insert(format!("{} uses files", source.module.join("::")));
            }
        }
        faults
    }

    /// The functions of a type of the builder or the store that the command line calls.
    fn called_by_cli(&self, import: &Import) -> Vec<String> {
        let (Some(name), None) = (import.rest.first(), named_by_cli(import)) else {
            return Vec::new();
        };
        let from_cli = import.from.first().is_some_and(|layer| layer == "cli");
        let of_engine = import
            .to
            .first()
            .is_some_and(|layer| ENGINE_ROOM.contains(&layer.as_str()));
        if !from_cli || !of_engine {
            return Vec::new();
        }
        let mut sources = self.sources.iter();
        let code = sources.find(|source| source.module == import.from);
        let functions = code.map_or_else(BTreeSet::new, |source| functions_of(&source.code, name));
        let called = functions
            .into_iter()
            .map(|function| format!("{name}::{function}"));
        called
            .filter(|called| !ARGUMENTS.contains(&called.as_str()))
            .map(|called| format!("{} calls {called}", import.from.join("::")))
            .collect()
    }

    /// The circles of siblings: groups of modules that reach each other.
    fn circles(&self, imports: &[Import]) -> BTreeSet<String> {
        let mut edges: BTreeMap<Names, BTreeSet<Names>> = BTreeMap::new();
        for Import { from, to, .. } in imports {
            let same = from.iter().zip(to).take_while(|(one, other)| one == other);
            let same = same.count();
            if same < from.len() && same < to.len() {
                let siblings = edges.entry(from[..=same].to_vec()).or_default();
                siblings.insert(to[..=same].to_vec());
            }
        }
        let reach = |start: &Names| {
            let mut seen = BTreeSet::new();
            let mut open = vec![start];
            while let Some(module) = open.pop() {
                for next in edges.get(module).into_iter().flatten() {
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&Names, BTreeSet<&Names>> =
            edges.keys().map(|module| (module, reach(module))).collect();
        let mut circles = BTreeSet::new();
        for (module, all) in &reached {
            if all.contains(module) {
                let back =
                    |other: &&Names| reached.get(*other).is_some_and(|all| all.contains(module));
                let circle: BTreeSet<String> = all
                    .iter()
                    .copied()
                    .filter(back)
                    .map(|other| other.join("::"))
                    .collect();
                let circle: Vec<String> = circle.into_iter().collect();
                circles.insert(format!("circle: {}", circle.join(", ")));
            }
        }
        circles
    }
}

/// An import from a layer above, or from a peer.
fn upward(import: &Import) -> Option<String> {
    let (from, to) = (import.from.first()?, import.to.first()?);
    if from == to || from == "main" {
        return None;
    }
    let layer = |name: &String| {
        LAYERS
            .iter()
            .position(|layer| layer.contains(&name.as_str()))
    };
    let fault = match (layer(from), layer(to)) {
        (Some(user), Some(used)) if user > used => return None,
        (Some(user), Some(used)) if user == used => {
            if ALLOWED.contains(&(from.as_str(), to.as_str())) {
                return None;
            }
            "its peer"
        }
        (Some(_), Some(_)) => "the layer above",
        (None, _) => return Some(format!("{from} is in no layer")),
        (_, None) => return Some(format!("{to} is in no layer")),
    };
    Some(format!(
        "{} imports from {fault} {}",
        import.from.join("::"),
        import.to.join("::")
    ))
}

/// Something of the builder or the store that the command line uses and that is not a type or a constant.
fn named_by_cli(import: &Import) -> Option<String> {
    let is_lower = ENGINE_ROOM.contains(&import.to.first()?.as_str());
    if import.from.first()? != "cli" || !is_lower {
        return None;
    }
    let is_type = |name: &String| name.starts_with(|first: char| first.is_ascii_uppercase());
    match import.rest.first() {
        Some(name) if is_type(name) => None,
        _ => Some(format!(
            "{} uses {}, which is not a type",
            import.from.join("::"),
            [import.to.clone(), import.rest.clone()].concat().join("::")
        )),
    }
}

/// The names, below `root`, and texts of the Rust files there.
fn files_below(root: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                files.push((name.to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

fn is_test(name: &str) -> bool {
    name == "tests" || name == "testing"
}

fn src() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

#[test]
fn every_import_points_down_and_siblings_form_no_circles() {
    let faults = Tree::read(src()).faults();
    let known: BTreeSet<String> = KNOWN.iter().map(|fault| (*fault).to_owned()).collect();
    let new: Vec<&String> = faults.difference(&known).collect();
    let gone: Vec<&String> = known.difference(&faults).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(
        gone.is_empty(),
        "no longer true, remove them from KNOWN: {gone:#?}"
    );
}

/// Where the system allows no more threads these panic, as rayon's pool does without `threads::ready`.
#[test]
fn threads_are_started_so_that_a_failure_is_an_error() {
    for source in Tree::read(src()).sources {
        let code = &source.code;
        for call in ["scope.spawn(", "thread::spawn("] {
            assert!(!code.contains(call), "{:?}: {call}", source.module);
        }
        let uses_pool = ["par_iter()", "rayon::current_num_threads()"];
        if source.module != ["threads"] && uses_pool.iter().any(|call| code.contains(call)) {
            let is_ready = code.contains("threads::ready()") || code.contains("threads::pool(");
            assert!(is_ready, "{:?} uses rayon without it", source.module);
        }
    }
}

#[test]
fn the_command_line_stays_small() {
    let files = files_below(&src().join("cli"));
    let code = files
        .iter()
        .filter(|(path, _)| !module_of(path).iter().any(|name| is_test(name)));
    let total: usize = code.map(|(_, text)| lines_of_code(text)).sum();
    assert!(total <= CLI_LINES, "src/cli has {total} lines of code");
    assert!(total > 1000, "only {total}: are they counted?");
}

/// The names of the types that `code` defines, those associated with a trait left out.
fn types(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let line = match line.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
            Some(rest) => rest.strip_prefix(' ')?,
            None => line,
        };
        let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
        let name = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
        name.split(|one: char| !one.is_alphanumeric()).next()
    })
}

#[test]
fn a_name_of_a_type_is_found_in_one_place() {
    let mut places: BTreeMap<String, Vec<Names>> = BTreeMap::new();
    for source in Tree::read(src()).sources {
        for name in types(&source.code) {
            let places = places.entry(name.to_owned()).or_default();
            places.push(source.module.clone());
        }
    }
    assert!(places.len() > 300, "only {}: are they found?", places.len());
    places.retain(|_, modules| modules.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

/// Whether `code` has what belongs to the process and not to a session: a static, or a call that changes the process.
fn is_global(code: &str) -> bool {
    let calls = [
        "thread_local!",
        "umask(",
        "setrlimit(",
        "set_current_dir(",
        "set_var(",
        "remove_var(",
        "setsid(",
        "Signals::new(",
        "pipe::register(",
        "build_global(",
        ".try_init(",
        "panic::set_hook(",
    ];
    let is_static = |line: &str| {
        let rest = line.trim_start();
        let rest = rest.split_once("static ").filter(|(before, _)| {
            let before = before.trim_end();
            before.is_empty() || before == "pub" || before.starts_with("pub(")
        });
        rest.is_some_and(|(_, name)| name.starts_with(|first: char| first.is_ascii_uppercase()))
            || line.trim_start().starts_with("static mut ")
    };
    code.lines().any(is_static) || calls.iter().any(|call| code.contains(call))
}

#[test]
fn the_architecture_page_lists_what_belongs_to_the_process() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/architecture.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page
        .split_once("## A session, and what belongs to the process")
        .unwrap();
    let listed: BTreeSet<&str> = section
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`'))
        .filter(|word| word.starts_with("src/"))
        .collect();
    let found: BTreeSet<String> = files_below(src())
        .into_iter()
        .filter(|(path, _)| !module_of(path).iter().any(|name| is_test(name)))
        .filter(|(_, text)| is_global(&code_of(text)))
        .map(|(path, _)| format!("src/{path}"))
        .collect();
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(listed, found);
}
