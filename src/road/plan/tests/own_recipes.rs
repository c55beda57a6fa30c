// SPDX-License-Identifier: GPL-3.0-or-later
//! The project's own recipes, and the lock of what was built from them.

use super::*;

#[test]
fn the_recipes_of_this_project_are_whole() {
    let recipes = match load(&RecipeSource::Embedded) {
        Ok(recipes) => recipes,
        Err(LoadError::Recipes(errors)) => panic!("{}", errors.render(false)),
        Err(error) => panic!("{error}"),
    };
    let mut roots = BTreeMap::new();
    for recipe in recipes.iter() {
        for source in recipe.sources.values() {
            if let Some(regenerate) = &source.regenerate {
                let name = regenerate.root.get_ref();
                roots.insert(name.clone(), seed(name));
            }
        }
    }
    for system in System::ALL {
        let settings = PlanSettings {
            system,
            ..settings()
        };
        let plan = match plan(&recipes, &seed("small"), &roots, &settings) {
            Ok(plan) => plan,
            Err(PlanError::Recipes(errors)) => panic!("{}", errors.render(false)),
            Err(error) => panic!("{error}"),
        };
        assert!(plan.unplanned().is_empty(), "{:?}", plan.unplanned());
        assert_eq!(plan.everything().unwrap().len(), 21);
    }
    // Of what the distribution's archive has, the recipes say how large it is.
    for recipe in recipes.iter() {
        for stage in recipe.stages.keys() {
            let typical = recipe.settings(*stage, System::X86_64Linux).typical_seconds;
            assert!(typical.is_some(), "{stage}/{} takes how long?", recipe.name);
        }
        let sources = std::iter::once(&recipe.sources).chain(recipe.extras.values());
        for source in sources.filter_map(|variants| choose_variant(variants, "debian")) {
            assert!(source.size.is_some(), "{} has no size", source.file);
        }
    }
}

#[test]
fn embedded_and_read_from_the_source_tree_the_recipes_are_the_same() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let embedded = load(&RecipeSource::Embedded).unwrap();
    let read = load(&RecipeSource::Directory(directory)).unwrap();
    assert_eq!(embedded.phases(), read.phases());
    assert_eq!(embedded.local_sources(), read.local_sources());
    let texts = |recipes: &Recipes| -> Vec<String> {
        recipes
            .iter()
            .map(|recipe| recipe.file.text.clone())
            .collect()
    };
    assert_eq!(texts(&embedded), texts(&read));
}

/// The project's recipes and pinned seeds give the output paths that `bootstrap.lock` records: what was built and
/// compared is what a user gets. Where a change of a recipe is meant to change paths, build, and write the lock again.
#[test]
fn the_projects_own_plan_is_what_its_lock_records() {
    use crate::road::seed::{SeedSource, resolve::load as load_seed};

    let recipes = load(&RecipeSource::Embedded).unwrap();
    let lock = include_str!("../../../../bootstrap.lock");
    let pinned = |name: &str| load_seed(&SeedSource::Embedded, name).unwrap();
    let roots: BTreeMap<String, Seed> = recipes
        .iter()
        .flat_map(|recipe| recipe.sources.values())
        .filter_map(|source| Some(source.regenerate.as_ref()?.root.get_ref().clone()))
        .map(|name| (name.clone(), pinned(&name)))
        .collect();
    // The plan of each seed, with what the lock has of it.
    let mut parts: Vec<(Plan, BTreeSet<String>)> = Vec::new();
    let mut label = "";
    for line in lock.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["seed", system, _, name] => {
                let settings = PlanSettings {
                    system: system.parse().unwrap(),
                    ..settings()
                };
                let planned = plan(&recipes, &pinned(name), &roots, &settings).unwrap();
                parts.push((planned, BTreeSet::new()));
            }
            ["derivation", name, path] => {
                label = name;
                let node = parts.last().unwrap().0.get(label);
                let node = node.unwrap_or_else(|| panic!("{label} is in the lock only"));
                let expected = settings().store_dir.display(&node.derivation_path);
                assert_eq!(expected, path, "{label}");
            }
            ["output", output, path, ..] => {
                let (planned, compared) = parts.last_mut().unwrap();
                let node = planned.get(label);
                let node = node.unwrap_or_else(|| panic!("{label} is in the lock only"));
                let expected = node.derivation.output_path(output).unwrap();
                assert_eq!(settings().store_dir.display(expected), path, "{label}");
                compared.insert(label.to_owned());
            }
            _ => {}
        }
    }
    assert!(!parts.is_empty());
    // What `bootstrap all` builds, and what that needs. Packages beside it, such as Guile, may be in the lock.
    for (planned, compared) in &parts {
        let needed = planned.closure(planned.everything().unwrap());
        let needed: BTreeSet<&str> = needed
            .into_iter()
            .map(|index| planned.nodes()[index].label.as_str())
            .collect();
        for node in planned.packages() {
            let label = node.label.as_str();
            assert!(
                compared.contains(label) || !needed.contains(label),
                "{label} is not in the lock"
            );
        }
    }
}
