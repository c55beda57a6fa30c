// SPDX-License-Identifier: GPL-3.0-or-later
//! The plan as a whole: what a small set of recipes becomes, and what changes what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bstr::ByteSlice;

use super::*;
use crate::archive::Format;
use crate::fetch::Location;
use crate::formats::derivation::aterm;
use crate::formats::hash::Sha256Digest;
use crate::road::recipe::{LoadError, RecipeSource, choose_variant, load};
use crate::road::seed::SeedArchive;

mod local_sources;
mod own_recipes;
mod sources;

/// A seed that needs no network to describe.
fn seed(name: &str) -> Seed {
    Seed {
        name: name.to_owned(),
        system: "x86_64-linux".to_owned(),
        preferred_variant: "debian".to_owned(),
        shell: "/bin/sh".to_owned(),
        search_path: vec!["/bin".to_owned()],
        format: Format::Tar,
        archives: vec![SeedArchive {
            name: format!("{name}.txz"),
            sha256: Sha256Digest::of(name),
            size: Some(7),
            locations: vec![Location::Url(format!("https://example.org/{name}.txz"))],
        }],
        links: BTreeMap::from([("/usr/bin/cc".to_owned(), "clang".to_owned())]),
        files: BTreeMap::from([("/etc/motd".to_owned(), "\"hi\"\n".to_owned())]),
        distribution: None,
        release: None,
        impure: None,
    }
}

fn settings() -> PlanSettings {
    PlanSettings {
        system: System::X86_64Linux,
        store_dir: StoreDir::new("/gnu/store").unwrap(),
    }
}

fn plan_of(recipes: &Recipes) -> Result<Plan, PlanError> {
    let roots = BTreeMap::from([("big".to_owned(), seed("big"))]);
    plan(recipes, &seed("small"), &roots, &settings())
}

/// A folder of recipes in the making.
struct PlanFolder(tempfile::TempDir);

impl PlanFolder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.file("stage0/gnu-build-system.sh", ": phases\n");
        folder.file("stage0/ld-wrapper/ld.c", "int main;\n");
        folder
    }

    fn recipes(&self) -> PathBuf {
        self.0.path().join("recipes")
    }

    fn file(&self, path: &str, contents: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    fn recipe(&self, name: &str, rest: &str) {
        self.file(
            &format!("recipes/{name}/recipe.toml"),
            &recipe_text(name, rest),
        );
    }

    fn load(&self) -> Recipes {
        load(&RecipeSource::Directory(self.recipes())).unwrap()
    }

    fn plan(&self) -> Plan {
        plan_of(&self.load()).unwrap()
    }
}

fn recipe_text(name: &str, rest: &str) -> String {
    format!(
        "name = \"{name}\"\nversion = \"1.0\"\nsynopsis = \"S\"\nhome-page = \"H\"\nlicense = \"L\"\n\
         [source.upstream]\nfile = \"{name}-1.0.tar.gz\"\nsha256 = \"{}\"\n\
         urls = [\"https://example.org/{name}-1.0.tar.gz\"]\n{rest}\n",
        Sha256Digest::of(name)
    )
}

/// Every package of the bootstrap, as plain as can be.
fn whole_road() -> PlanFolder {
    let folder = PlanFolder::new();
    let names: BTreeSet<&str> = road::STAGE0.iter().chain(road::FINAL).copied().collect();
    for name in names {
        let stage0 = if road::STAGE0.contains(&name) {
            "[stage0]\n"
        } else {
            ""
        };
        let after = match name {
            "libc" => "[libc]\noutputs = [\"out\", \"static\"]\ninputs = [\"stage0/patchelf\"]\n",
            "gcc" => "[final]\noutputs = [\"out\", \"lib\"]\n",
            "patchelf" => "",
            _ => "[final]\n",
        };
        folder.recipe(name, &format!("{stage0}{after}"));
    }
    for name in road::PROOF {
        folder.recipe(name, "[package]\n");
    }
    folder
}

/// The graph as text: each derivation, with its environment one variable a line.
fn show(plan: &Plan, labels: &[&str]) -> String {
    let mut text = String::new();
    for node in plan.nodes() {
        if !labels.is_empty() && !labels.contains(&node.label.as_str()) {
            continue;
        }
        let derivation = &node.derivation;
        text.push_str(&format!(
            "{} ({:?}) {}\n",
            node.label,
            node.kind,
            node.derivation_path.base_name()
        ));
        let dependencies = node
            .dependencies
            .iter()
            .map(|index| plan.nodes()[*index].label.as_str());
        text.push_str(&format!("  needs {:?}\n", dependencies.collect::<Vec<_>>()));
        text.push_str(&format!(
            "  runs {} {:?}\n",
            derivation.builder, derivation.arguments
        ));
        for (name, value) in &derivation.environment {
            text.push_str(&format!("  {name}={value:?}\n"));
        }
    }
    text
}

fn paths(plan: &Plan) -> BTreeMap<String, StorePath> {
    plan.nodes()
        .iter()
        .map(|node| (node.label.clone(), node.derivation_path.clone()))
        .collect()
}

#[test]
fn a_build_in_the_seed_is_the_derivation_that_the_contract_describes() {
    let folder = PlanFolder::new();
    folder.recipe(
        "make",
        "debian = { package = \"make-dfsg\", version = \"1:1.0-4\", file = \"make_1.0.orig.tar.gz\" }\n\
         regenerate = { root = \"big\", script = \"regenerate.sh\" }\n[stage0]\n",
    );
    folder.file("recipes/make/regenerate.sh", "cp -R \"$source\" \"$out\"\n");
    folder.recipe(
        "sed",
        "patches = [\"own.patch\"]\n\
         [extra.libx.upstream]\nfile = \"x.tar\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n\
         urls = [\"mirror://gnu/x.tar\"]\n\
         [build]\nconfigure-flags = [\"--a=$out\"]\ncheck-target = \"test\"\n\
         [stage0]\nconfigure-flags = [\"--b=$input_make $source_libx\"]\nmake-flags = [\"C=\\\"x\\\" `y`\"]\n\
         tests = true\nenvironment = { LDFLAGS = \"-static\", A = \"$triplet\" }\n\
         [platform.x86_64-linux]\npatches = [\"linux.patch\"]\nconfigure-flags = [\"--linux\"]\n\
         [platform.x86_64-linux.stage0]\nenvironment = { A = \"$version\" }\n\
         [platform.x86_64-freebsd]\npatches = [\"freebsd.patch\"]\nconfigure-flags = [\"--freebsd\"]\n",
    );
    for patch in ["own", "linux", "freebsd"] {
        folder.file(&format!("recipes/sed/{patch}.patch"), "--- a\n+++ b\n");
    }
    folder.file("recipes/sed/phases.sh", "# nothing\n");
    insta::assert_snapshot!(show(&folder.plan(), &[]));
}

#[test]
fn features_of_machines_are_guixs_variable() {
    let folder = whole_road();
    folder.recipe(
        "sed",
        "[build]\nsystem-features = [\"big-parallel\"]\n[stage0]\n[final]\n\
         [platform.x86_64-linux]\nsystem-features = [\"procfs\"]\n",
    );
    let plan = folder.plan();
    let environment = &plan.get("sed").unwrap().derivation.environment;
    let features = environment.get("requiredSystemFeatures").unwrap();
    assert_eq!(features, "big-parallel procfs");
    let other = &plan.get("bash").unwrap().derivation.environment;
    assert!(!other.contains_key("requiredSystemFeatures"));
}

#[test]
fn phases_of_one_stage_change_that_stage_alone() {
    let folder = whole_road();
    folder.file("recipes/sed/phases.sh", "all=1\n");
    let paths = |folder: &PlanFolder| {
        let plan = folder.plan();
        let of = |label: &str| plan.get(label).unwrap().derivation_path.clone();
        (of("stage0/sed"), of("sed"))
    };
    let before = paths(&folder);
    folder.file("recipes/sed/phases-final.sh", "final=1\n");
    let after = paths(&folder);
    assert_eq!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

#[test]
fn final_and_package_builds_see_what_the_road_says() {
    let plan = whole_road().plan();
    assert!(plan.unplanned().is_empty(), "{:?}", plan.unplanned());
    insta::assert_snapshot!(show(&plan, &["libc", "sed", "hello"]));
}

#[test]
fn dependencies_come_first_and_everything_is_reached() {
    let plan = whole_road().plan();
    for (index, node) in plan.nodes().iter().enumerate() {
        assert!(
            node.dependencies
                .iter()
                .all(|dependency| *dependency < index)
        );
        assert_eq!(
            node.dependencies.len(),
            node.derivation.input_derivations.len(),
            "{}",
            node.label
        );
    }
    let everything = plan.everything().unwrap();
    assert_eq!(everything.len(), 21, "libc:static is an output of libc");
    let stage0 = plan
        .closure(everything)
        .into_iter()
        .filter(|index| plan.nodes()[*index].stage == Some(Stage::Stage0));
    assert_eq!(stage0.count(), road::STAGE0.len());
}

#[test]
fn the_same_recipes_give_the_same_plan() {
    let folder = whole_road();
    let (one, other) = (folder.plan(), folder.plan());
    let aterms = |plan: &Plan| -> Vec<Vec<u8>> {
        let derivations = plan.nodes().iter().map(|node| &node.derivation);
        derivations
            .map(|derivation| aterm::write(&settings().store_dir, derivation))
            .collect()
    };
    assert_eq!(aterms(&one), aterms(&other));
}

#[test]
fn another_recipe_changes_no_path() {
    let folder = whole_road();
    let before = paths(&folder.plan());
    folder.recipe("aaa", "[stage0]\n[final]\n");
    folder.recipe("zzz", "[package]\n");
    let after = paths(&folder.plan());
    for (label, path) in &before {
        assert_eq!(&after[label], path, "{label}");
    }
    assert_eq!(
        after.len(),
        before.len() + 3 + 2,
        "three builds, two sources"
    );
}

#[test]
fn a_flag_of_a_final_package_changes_it_and_the_packages_only() {
    let folder = whole_road();
    let before = paths(&folder.plan());
    folder.recipe("zstd", "[final]\nmake-flags = [\"V=1\"]\n");
    let after = paths(&folder.plan());
    let changed: Vec<&str> = before
        .iter()
        .filter(|(label, path)| after[*label] != **path)
        .map(|(label, _)| label.as_str())
        .collect();
    assert_eq!(changed, ["hello", "which", "zstd"]);
}

#[test]
fn no_output_after_stage0_may_refer_to_stage0_or_the_seed() {
    let plan = whole_road().plan();
    let disallowed = |label: &str| {
        let environment = &plan.get(label).unwrap().derivation.environment;
        let paths = environment.text("disallowedReferences").unwrap_or_default();
        paths.split(' ').filter(|path| !path.is_empty()).count()
    };
    assert_eq!(disallowed("stage0/make"), 1);
    assert_eq!(disallowed("stage0/gcc"), 1);
    // The seed and all of stage0; libc comes before most of it.
    assert_eq!(disallowed("sed"), 1 + road::STAGE0.len());
    assert_eq!(disallowed("hello"), 1 + road::STAGE0.len());
    assert_eq!(disallowed("libc"), 1 + 2, "patchelf and make");
}

#[test]
fn how_long_a_build_takes_is_told_and_is_in_no_derivation() {
    let folder = whole_road();
    let without = folder.plan();
    folder.recipe("zstd", "[final]\ntypical-seconds = 90\n");
    let with = folder.plan();
    let typical = |plan: &Plan| plan.get("zstd").unwrap().typical;
    assert_eq!(typical(&without), None);
    assert_eq!(typical(&with), Some(Duration::from_secs(90)));
    let paths = |plan: &Plan| -> Vec<StorePath> {
        let nodes = plan.nodes().iter();
        nodes.map(|node| node.derivation_path.clone()).collect()
    };
    assert_eq!(paths(&without), paths(&with));
}

#[test]
fn what_the_machine_is_like_is_in_no_derivation() {
    let plan = whole_road().plan();
    for node in plan.nodes() {
        for name in [
            "HOME",
            "PATH",
            "NIX_BUILD_CORES",
            "NIX_BUILD_TOP",
            "MAKEFLAGS",
            "TMPDIR",
        ] {
            assert!(
                !node.derivation.environment.contains_key(name),
                "{}: {name}",
                node.label
            );
        }
    }
}

#[test]
fn packages_that_need_each_other_are_named_as_a_chain() {
    let folder = PlanFolder::new();
    folder.recipe("make", "[stage0]\ninputs = [\"stage0/sed\"]\n");
    folder.recipe("sed", "[stage0]\nreplace-inputs = [\"stage0/grep\"]\n");
    folder.recipe("grep", "[stage0]\nreplace-inputs = [\"stage0/make\"]\n");
    let PlanError::Recipes(errors) = plan_of(&folder.load()).unwrap_err() else {
        panic!("a mistake in recipes");
    };
    assert_eq!(errors.errors().len(), 1, "{errors}");
    let problem = errors.errors()[0].problem.to_string();
    assert!(
        problem.contains("stage0/make → stage0/sed → stage0/grep → stage0/make"),
        "{problem}"
    );
    assert_eq!(errors.errors()[0].position(), (11, 19));
}

#[test]
fn a_package_without_an_implicit_input_says_so_and_others_are_planned() {
    let folder = PlanFolder::new();
    folder.recipe("make", "[stage0]\n[final]\n");
    let plan = folder.plan();
    assert!(plan.find("stage0/make").is_ok());
    let error = plan.find("make").unwrap_err().to_string();
    assert!(
        error.contains("`make` needs the implicit input `bash`"),
        "{error}"
    );
    let error = plan.find("stage0/mkae").unwrap_err().to_string();
    assert!(error.contains("did you mean `stage0/make`?"), "{error}");
}

#[test]
fn an_unknown_variable_and_an_unknown_root_are_mistakes_of_the_recipe() {
    let folder = PlanFolder::new();
    folder.recipe(
        "make",
        "regenerate = { root = \"bigger\", script = \"r.sh\" }\n[stage0]\n",
    );
    folder.file("recipes/make/r.sh", "");
    let PlanError::Recipes(errors) = plan_of(&folder.load()).unwrap_err() else {
        panic!("a mistake in recipes");
    };
    assert!(
        errors.to_string().contains("unknown root `bigger`"),
        "{errors}"
    );
    folder.recipe("make", "[stage0]\nmake-flags = [\"A=$shell\"]\n");
    std::fs::remove_file(folder.recipes().join("make/r.sh")).unwrap();
    let PlanError::Recipes(errors) = plan_of(&folder.load()).unwrap_err() else {
        panic!("a mistake in recipes");
    };
    assert!(
        errors
            .to_string()
            .contains("recipe.toml:11:15: unknown variable `$shell`"),
        "{errors}"
    );
}

#[test]
fn the_fixpoint_has_final_tools_in_the_place_of_stage0s() {
    let mut plan = whole_road().plan();
    let before = plan.nodes().len();
    let pairs = plan.add_fixpoint(&settings().store_dir).unwrap();
    assert_eq!(plan.nodes().len(), before + pairs.len());
    let labels: BTreeSet<&str> = pairs
        .iter()
        .map(|(_, again)| plan.nodes()[*again].label.as_str())
        .collect();
    assert!(labels.contains("fixpoint/gcc") && !labels.contains("fixpoint/libc"));
    let node = plan.get("fixpoint/gcc").unwrap();
    let inputs: BTreeSet<&str> = node
        .dependencies
        .iter()
        .map(|index| plan.nodes()[*index].label.as_str())
        .collect();
    assert!(inputs.contains("gcc") && inputs.contains("bash") && inputs.contains("binutils"));
    // What only stage0 has stays.
    let of_stage0: Vec<&&str> = inputs
        .iter()
        .filter(|label| label.starts_with("stage0/"))
        .collect();
    assert_eq!(of_stage0, [&"stage0/patchelf"]);
    let path = |label: &str| {
        let node = plan.get(label).unwrap();
        settings()
            .store_dir
            .display(node.derivation.output_path("out").unwrap())
    };
    let environment = &node.derivation.environment;
    assert!(environment["inputs"].contains_str(path("gcc")));
    assert!(!environment["inputs"].contains_str(path("stage0/gcc")));
    assert!(node.derivation.builder.starts_with_str(path("bash")));
    assert_eq!(environment["out"], path("fixpoint/gcc"));
    assert_ne!(path("fixpoint/gcc"), path("gcc"));
    // References to stage0 stay forbidden, those to the final tools do not become so.
    assert!(environment["disallowedReferences"].contains_str(path("stage0/gcc")));
    assert!(!environment["disallowedReferences"].contains_str(path("bash")));
}
