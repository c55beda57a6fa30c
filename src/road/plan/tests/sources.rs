// SPDX-License-Identifier: GPL-3.0-or-later
//! Sources: where they are, their sizes, and what is completed in a larger root.

use super::*;

#[test]
fn a_regenerated_source_is_one_item_for_every_system() {
    let folder = PlanFolder::new();
    folder.recipe(
        "make",
        "regenerate = { root = \"big\", script = \"regenerate.sh\" }\n[stage0]\n",
    );
    folder.file("recipes/make/regenerate.sh", "cp -R \"$source\" \"$out\"\n");
    let roots = BTreeMap::from([("big".to_owned(), seed("big"))]);
    let small = Seed {
        system: "x86_64-freebsd".to_owned(),
        ..seed("small")
    };
    let freebsd = PlanSettings {
        system: System::X86_64Freebsd,
        ..settings()
    };
    let here = folder.plan();
    let there = plan(&folder.load(), &small, &roots, &freebsd).unwrap();
    // The derivations differ in those of their downloads, which are for the system that asks.
    let path = |plan: &Plan, label: &str| {
        let derivation = &plan.get(label).unwrap().derivation;
        derivation.output_path("out").unwrap().clone()
    };
    for label in ["regenerate/make", "seed/big"] {
        assert_eq!(path(&here, label), path(&there, label));
    }
    for label in ["stage0/make", "seed/small"] {
        assert_ne!(path(&here, label), path(&there, label));
    }
}

#[test]
fn where_a_source_is_does_not_change_what_is_built_from_it() {
    let folder = whole_road();
    let before = paths(&folder.plan());
    let text = recipe_text("zstd", "[final]\n").replace("example.org", "example.net");
    folder.file("recipes/zstd/recipe.toml", &text);
    let after = folder.plan();
    let output = |node: &Node| node.derivation.output_path("out").unwrap().clone();
    assert_ne!(
        before["source/zstd-1.0.tar.gz"],
        paths(&after)["source/zstd-1.0.tar.gz"]
    );
    let again = whole_road().plan();
    for label in ["zstd", "hello"] {
        assert_eq!(
            output(again.get(label).unwrap()),
            output(after.get(label).unwrap())
        );
    }
}

#[test]
fn a_sources_size_is_told_and_is_in_no_derivation() {
    let folder = whole_road();
    let without = folder.plan();
    let extra = format!(
        "[final]\n[extra.libx.upstream]\nfile = \"x.tar\"\nsha256 = \"{}\"\nurls = [\"mirror://gnu/x.tar\"]\n",
        "0".repeat(64)
    );
    folder.recipe("zstd", &extra);
    let with_extra = folder.plan();
    folder.recipe("zstd", &format!("size = 1_234\n{extra}size = 0x10\n"));
    let with = folder.plan();
    let size = |plan: &Plan, label: &str| plan.get(label).unwrap().size;
    assert_eq!(size(&without, "source/zstd-1.0.tar.gz"), None);
    assert_eq!(size(&with, "source/zstd-1.0.tar.gz"), Some(1234));
    assert_eq!(size(&with, "source/x.tar"), Some(16));
    assert_eq!(size(&with, "seed/small.txz"), Some(7));
    assert_eq!(size(&with, "zstd"), None);
    // Neither in the store nor as it would be written there.
    assert_eq!(with_extra.nodes().len(), with.nodes().len());
    for (one, other) in with_extra.nodes().iter().zip(with.nodes()) {
        assert_eq!(one.derivation_path, other.derivation_path);
        assert_eq!(one.derivation, other.derivation);
        let written = |node: &Node| aterm::write(&settings().store_dir, &node.derivation);
        assert_eq!(written(one), written(other));
    }
}
