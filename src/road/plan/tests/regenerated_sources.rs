// SPDX-License-Identifier: GPL-3.0-or-later
//! Sources that are completed in a larger root.

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
