// SPDX-License-Identifier: GPL-3.0-or-later
//! Sources that are folders beside the recipes.

use super::*;

/// A recipe whose source is the folder `local` of `stage0`.
fn local_recipe(folder: &PlanFolder, local: &str) {
    let rest = format!("local-source = \"{local}\"\n[stage0]\nreplace-inputs = []\n");
    let text =
        "name = \"own\"\nversion = \"1\"\nsynopsis = \"S\"\nhome-page = \"H\"\nlicense = \"L\"\n";
    folder.file("recipes/own/recipe.toml", &format!("{text}{rest}"));
}

#[test]
fn a_local_source_changes_only_the_package_that_is_built_of_it() {
    let folder = PlanFolder::new();
    folder.recipe("make", "[stage0]\n");
    local_recipe(&folder, "ld-wrapper");
    let before = plan_of(&folder.load()).unwrap();
    folder.file("stage0/ld-wrapper/ld.c", "long main;\n");
    let after = plan_of(&folder.load()).unwrap();
    let path = |plan: &Plan, label| plan.get(label).unwrap().derivation_path.clone();
    assert_ne!(path(&before, "stage0/own"), path(&after, "stage0/own"));
    assert_eq!(path(&before, "stage0/make"), path(&after, "stage0/make"));
}

#[test]
fn a_local_source_goes_in_with_modes_and_links() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = PlanFolder::new();
    local_recipe(&folder, "ld-wrapper");
    let source = folder.0.path().join("stage0/ld-wrapper");
    let path = |folder: &PlanFolder| {
        plan_of(&folder.load())
            .unwrap()
            .get("stage0/own")
            .unwrap()
            .derivation_path
            .clone()
    };
    let mut seen = BTreeSet::from([path(&folder)]);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(source.join("ld.c"), executable).unwrap();
    assert!(seen.insert(path(&folder)), "the execute bit is lost");
    symlink("nowhere", source.join("link")).unwrap();
    assert!(seen.insert(path(&folder)), "a dangling link is lost");
    std::fs::create_dir(source.join("empty")).unwrap();
    assert!(seen.insert(path(&folder)), "an empty folder is lost");
    folder.file("stage0/ld-wrapper/.hidden", "");
    assert!(seen.insert(path(&folder)), "a dot-file is lost");
}

#[test]
fn a_local_source_that_is_not_there_is_named() {
    let folder = PlanFolder::new();
    local_recipe(&folder, "ld-rapper");
    let error = plan_of(&folder.load()).unwrap_err();
    assert!(format!("{error:?}").contains("ld-rapper"), "{error:?}");
}
