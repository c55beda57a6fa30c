// SPDX-License-Identifier: GPL-3.0-or-later
use crate::World;

#[test]
fn a_bad_recipe_ends_with_2_and_a_caret_below_each_mistake() {
    let world = World::with_recipes();
    world.recipe(
        "sed",
        "[final]\nconfigure-flag = []\ninputs = [\"stage0/mak\"]\n",
    );
    world.recipe("grep", "[finall]\n");
    let (out, err) = world.expect(2, &["list"]);
    assert_eq!(out, "");
    insta::assert_snapshot!(err);
}

#[test]
fn packages_that_need_each_other_are_named_as_a_chain() {
    let world = World::with_recipes();
    world.recipe("one", "[stage0]\ninputs = [\"stage0/two\"]\n");
    world.recipe("two", "[stage0]\ninputs = [\"stage0/one\"]\n");
    let (_, err) = world.expect(2, &["graph"]);
    insta::assert_snapshot!(err);
}

#[test]
fn only_packages_after_stage0_are_told_to_use_its_builds() {
    let world = World::with_recipes();
    for (name, other) in [("one", "two"), ("two", "one")] {
        world.recipe(
            name,
            &format!("[final]\nreplace-inputs = [\"{other}\", \"stage0/make\"]\n"),
        );
    }
    let (_, err) = world.expect(2, &["graph"]);
    assert!(err.contains("one → two → one"), "{err}");
    assert!(err.contains("use the stage0 build of one"), "{err}");
}

#[test]
fn a_variable_that_no_build_has_is_shown_in_its_flag() {
    let world = World::with_recipes();
    world.recipe(
        "sed",
        "[stage0]\nconfigure-flags = [\"--ok\", \"--prefix=$prefix\"]\n",
    );
    let (_, err) = world.expect(2, &["path", "stage0/make"]);
    assert!(
        err.contains("unknown variable `$prefix` in stage0/sed"),
        "{err}"
    );
    assert!(err.contains("WORLD/recipes/sed/recipe.toml:12:28"), "{err}");
}

#[test]
fn a_package_without_its_implicit_inputs_is_listed_and_cannot_be_built() {
    let world = World::with_recipes();
    world.recipe("hello", "[package]\n");
    let (out, _) = world.expect(0, &["list"]);
    assert!(
        out.contains("hello") && out.contains("cannot be built"),
        "{out}"
    );
    let (_, err) = world.expect(2, &["build", "hello"]);
    assert!(
        err.contains("`hello` needs the implicit input `tar`, which no recipe builds"),
        "{err}"
    );
}

#[test]
fn a_folder_without_recipes_is_wrong_usage() {
    let world = World::empty();
    let (_, err) = world.expect(2, &["list"]);
    assert!(err.contains("cannot read WORLD/recipes"), "{err}");
    world.file("recipes/README", "nothing here");
    let (_, err) = world.expect(2, &["list"]);
    assert!(err.contains("WORLD/recipes holds no recipe"), "{err}");
    assert!(err.contains("hint: give --recipes the folder"), "{err}");
    // An entry that may not be there has a hint of its own.
    std::os::unix::fs::symlink("/etc", world.path("recipes/linked")).unwrap();
    let (_, err) = world.expect(2, &["list"]);
    assert!(err.contains("hint: links out of a folder"), "{err}");
}
