// SPDX-License-Identifier: GPL-3.0-or-later
//! Right recipes, and every way to get one wrong.

use std::path::PathBuf;

use super::*;
use crate::formats::system::System;

const HASH: &str = "e05fdde47c5f7ca45cb697e973894ff4f5d79e13b750ed57d7b66d8defc78e19";

/// A folder of recipes in the making.
struct RecipeFolder(tempfile::TempDir);

impl RecipeFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, path: &str, contents: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
        self
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("recipes")
    }

    fn load(&self) -> Result<Recipes, LoadError> {
        load(&RecipeSource::Directory(self.path()))
    }

    /// The errors as shown, without the folder that changes from run to run.
    fn errors(&self) -> String {
        match self.load() {
            Err(LoadError::Recipes(errors)) => errors
                .render(false)
                .replace(&self.path().display().to_string(), "recipes"),
            other => panic!("errors in recipes, not {other:?}"),
        }
    }
}

fn good(name: &str, rest: &str) -> String {
    format!(
        "name = \"{name}\"\nversion = \"1.0\"\nsynopsis = \"S\"\nhome-page = \"H\"\nlicense = \"L\"\n\n\
         [source.upstream]\nfile = \"{name}.tar.gz\"\nsha256 = \"{HASH}\"\nurls = [\"mirror://gnu/{name}.tar.gz\"]\n{rest}"
    )
}

#[test]
fn stage_and_platform_tables_are_laid_over_the_common_one() {
    let folder = RecipeFolder::new();
    folder.file(
        "sed/recipe.toml",
        good(
            "sed",
            "[build]\nconfigure-flags = [\"a\"]\nenvironment = { X = \"build\", Y = \"build\" }\ntests = true\n\
             [stage0]\nconfigure-flags = [\"c\"]\nenvironment = { X = \"stage0\" }\ntests = false\n\
             [final]\noutputs = [\"out\", \"lib\"]\n\
             [platform.x86_64-linux]\nconfigure-flags = [\"b\"]\nenvironment = { X = \"linux\" }\n\
             [platform.x86_64-linux.stage0]\nconfigure-flags = [\"d\"]\n",
        ),
    );
    let recipes = folder.load().unwrap();
    let sed = recipes.get("sed").unwrap();
    let flags = |stage, system| -> Vec<String> {
        let flags = sed.settings(stage, system).configure_flags;
        flags.into_iter().map(toml::Spanned::into_inner).collect()
    };
    assert_eq!(
        flags(Stage::Stage0, System::X86_64Linux),
        ["a", "b", "c", "d"]
    );
    assert_eq!(flags(Stage::Stage0, System::X86_64Freebsd), ["a", "c"]);
    assert_eq!(flags(Stage::Final, System::X86_64Linux), ["a", "b"]);
    let stage0 = sed.settings(Stage::Stage0, System::X86_64Linux);
    assert_eq!(stage0.environment["X"].get_ref(), "stage0");
    assert_eq!(stage0.environment["Y"].get_ref(), "build");
    assert_eq!(stage0.tests, Some(false));
    assert_eq!(stage0.outputs, ["out"]);
    assert_eq!(
        sed.settings(Stage::Final, System::X86_64Linux).outputs,
        ["out", "lib"]
    );
}

#[test]
fn the_preferred_variant_is_chosen_and_upstream_where_there_is_none() {
    let folder = RecipeFolder::new();
    let debian = "[source.debian]\nfile = \"d.tar\"\n".to_owned()
        + &format!(
            "sha256 = \"{HASH}\"\ndebian = {{ package = \"p\", version = \"2:1~rc-1\", file = \"d.tar\" }}\n[final]\n"
        );
    folder.file("sed/recipe.toml", good("sed", &debian));
    let recipes = folder.load().unwrap();
    let sources = &recipes.get("sed").unwrap().sources;
    assert_eq!(choose_variant(sources, "debian").unwrap().file, "d.tar");
    assert_eq!(
        choose_variant(sources, "upstream").unwrap().file,
        "sed.tar.gz"
    );
    assert_eq!(
        choose_variant(sources, "gentoo").unwrap().file,
        "sed.tar.gz"
    );
}

#[test]
fn a_source_that_is_regenerated_without_a_script_gets_autoreconf() {
    let folder = RecipeFolder::new();
    let text = good("sed", "regenerate = { root = \"big\" }\n[final]\n");
    folder.file("sed/recipe.toml", text);
    let recipes = folder.load().unwrap();
    let source = choose_variant(&recipes.get("sed").unwrap().sources, "upstream").unwrap();
    let regenerate = source.regenerate.as_ref().unwrap();
    assert_eq!(regenerate.script.name, "autoreconf.sh");
    let script = String::from_utf8(regenerate.script.contents.clone()).unwrap();
    assert!(
        script.contains("\nautoreconf --install --force\n"),
        "{script}"
    );
}

#[test]
fn several_mistakes_are_shown_at_once_with_carets() {
    let folder = RecipeFolder::new();
    folder.file(
        "grep/recipe.toml",
        good(
            "grep",
            "[final]\nconfigure-flag = [\"--x\"]\ntests = \"yes\"\n",
        )
        .replace(HASH, "abc"),
    );
    folder.file(
        "sed/recipe.toml",
        good("sed", "pachtes = []\n[stage1]\n[platform.x86_64-hurd]\n[final]\ninputs = [\"stage7/make\", 3]\n"),
    );
    insta::assert_snapshot!(folder.errors());
}

#[test]
fn what_is_missing_is_shown_at_the_recipe() {
    let folder = RecipeFolder::new();
    folder.file("a/recipe.toml", "version = \"1\"\n[final]\n");
    folder.file("b/recipe.toml", "name = \"b\"\nversion = \"1\"\nsynopsis = \"S\"\nhome-page = \"H\"\nlicense = \"L\"\n[final]\n");
    folder.file("c/recipe.toml", good("c", "").replace("urls", "#"));
    folder.file(
        "d/recipe.toml",
        good("d", "patches = [\"fix-d.patch\"]\nregenerate = { root = \"big\", script = \"made.sh\" }\n[final]\n"),
    );
    folder.file("d/fixd.patch", "");
    folder.file("e/recipe.toml", good("e", "[final]\n[package]\n"));
    folder.file("e/phase.sh", "");
    insta::assert_snapshot!(folder.errors());
}

#[test]
fn phases_of_a_stage_that_the_recipe_has_not_are_refused() {
    let folder = RecipeFolder::new();
    folder.file("bash/recipe.toml", good("bash", "[final]\n"));
    folder.file("bash/phases-final.sh", "");
    folder.file("bash/phases-stage0.sh", "");
    let errors = folder.errors();
    assert!(errors.contains("`phases-stage0.sh`"), "{errors}");
    assert!(!errors.contains("phases-final.sh"), "{errors}");
}

#[test]
fn the_old_name_of_the_package_stage_is_refused_with_the_new_one() {
    let folder = RecipeFolder::new();
    folder.file(
        "hello/recipe.toml",
        good("hello", "[proof]\n[platform.x86_64-freebsd.proof]\n"),
    );
    let errors = folder.errors();
    assert_eq!(errors.matches("unknown key `proof`").count(), 2, "{errors}");
    let help = "the stage of ordinary packages is called `package`: rename the table";
    assert_eq!(errors.matches(help).count(), 2, "{errors}");
}

#[test]
fn inputs_must_exist_with_their_stage_and_output() {
    let folder = RecipeFolder::new();
    folder.file("bash/recipe.toml", good("bash", "[stage0]\n"));
    folder.file(
        "libc/recipe.toml",
        good("libc", "[libc]\noutputs = [\"out\", \"static\"]\n"),
    );
    folder.file(
        "sed/recipe.toml",
        good(
            "sed",
            "[final]\ninputs = [\n\"bsh\",\n\"stage0/bahs\",\n\"bash\",\n\"stage0/libc\",\n\"libc:dynamic\",\n\"libc:static\",\n\"stage0/bash\"]\n",
        ),
    );
    insta::assert_snapshot!(folder.errors());
}

#[test]
fn two_recipes_of_one_name_are_shown_with_each_other() {
    let folder = RecipeFolder::new();
    folder.file("sed/recipe.toml", good("sed", "[final]\n"));
    folder.file("sed2/recipe.toml", good("sed", "[final]\n"));
    insta::assert_snapshot!(folder.errors());
}

#[test]
fn what_is_not_toml_or_not_text_is_shown_where_it_stops_to_be() {
    let folder = RecipeFolder::new();
    folder.file("a/recipe.toml", "name = \"a\nversion = \"1\"\n");
    folder.file("b/recipe.toml", b"name = \"b\xff\"\n");
    folder.file(
        "c/recipe.toml",
        good("c", "[final]\ntests = true\ntests = true\n"),
    );
    folder.file("d/recipe.toml", "");
    insta::assert_snapshot!(folder.errors());
}

#[test]
fn values_that_would_break_a_derivation_are_refused() {
    let cases = [
        (
            "version = \"1.0\"",
            "version = \"1/0\"",
            "2:11",
            "cannot be part of the name of a store item",
        ),
        (
            "version = \"1.0\"",
            "version = \"\"",
            "2:11",
            "`version` is empty",
        ),
        (
            "version = \"1.0\"",
            "version = 1.0",
            "2:11",
            "is a number: expected a string",
        ),
        (
            "mirror://gnu/sed.tar.gz",
            "file:///etc/passwd",
            "10:9",
            "is not a place to fetch from",
        ),
        (
            "mirror://gnu/sed.tar.gz",
            "https://a/b c",
            "10:9",
            "is not a place to fetch from",
        ),
        (
            "mirror://gnu/sed.tar.gz",
            "mirror://gun/sed.tar.gz",
            "10:9",
            "no such mirror is known",
        ),
        (
            "[final]",
            "[final]\noutputs = [\"lib\"]",
            "12:11",
            "the outputs lack `out`",
        ),
        (
            "[final]",
            "[final]\noutputs = [\"out\", \"a-b\"]",
            "12:19",
            "`a-b` cannot name an output",
        ),
        (
            "[final]",
            "[final]\noutputs = [\"out\", \"out\"]",
            "12:19",
            "`out` is named twice",
        ),
        (
            "[final]",
            "[final]\noutputs = [\"out\", \"source\"]",
            "12:19",
            "`source` cannot name an output",
        ),
        (
            "[final]",
            "[final]\nsystem-features = [\"procfs\", \"a b\"]",
            "12:30",
            "`a b` cannot name a feature",
        ),
        (
            "[final]",
            "[final]\nenvironment = { \"A B\" = \"\" }",
            "12:17",
            "cannot name a variable",
        ),
        (
            "[final]",
            "[final]\nmake-flags = [\"a\\u0000\"]",
            "12:15",
            "holds a NUL character",
        ),
        (
            "[final]",
            "[final]\ninputs = [\"a b\"]",
            "12:11",
            "is not the name of a package",
        ),
        (
            "[final]",
            "[final]\ntests = false",
            "1:8",
            "`tests-reason` does not say why",
        ),
        (
            "[final]",
            "[final]\n[extra.a-b.upstream]",
            "12:8",
            "`a-b` cannot name a variable",
        ),
        (
            "[final]",
            "debian = { package = \"-o\", version = \"1\", file = \"f\" }\n[final]",
            "11:10",
            "is not a place to fetch from",
        ),
        (
            "[final]",
            "size = 0\n[final]",
            "11:8",
            "`size` is a number: expected a number of bytes, above zero",
        ),
        (
            "[final]",
            "size = \"1M\"\n[final]",
            "11:8",
            "`size` is a string: expected a number of bytes, above zero",
        ),
        (
            "[final]",
            "[final]\ntypical-seconds = 0",
            "12:19",
            "`typical-seconds` is a number: expected a number of seconds, above zero",
        ),
        ("[final]", "", "1:8", "recipe `sed` has no stage"),
    ];
    for (from, to, position, message) in cases {
        let folder = RecipeFolder::new();
        folder.file(
            "sed/recipe.toml",
            good("sed", "[final]\n").replace(from, to),
        );
        let Err(LoadError::Recipes(errors)) = folder.load() else {
            panic!("`{to}` is accepted");
        };
        let first = errors
            .errors()
            .iter()
            .map(RecipeError::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        assert!(first.contains(message), "{to}: {first}");
        let (line, column) = errors.errors()[0].position();
        assert_eq!(format!("{line}:{column}"), position, "{to}: {first}");
    }
}

#[test]
fn a_recipe_without_a_source_is_an_error_but_for_libc() {
    let folder = RecipeFolder::new();
    let text = |stage: &str, rest: &str| {
        format!(
            "name = \"w\"\nversion = \"1\"\nsynopsis = \"S\"\nhome-page = \"H\"\nlicense = \"L\"\n{rest}[{stage}]\n"
        )
    };
    folder.file("w/recipe.toml", text("libc", ""));
    assert!(folder.load().unwrap().get("w").unwrap().sources.is_empty());
    folder.file("w/recipe.toml", text("final", ""));
    assert!(folder.errors().contains("recipe `w` has no source"));
    folder.file("w/recipe.toml", text("final", "local-source = \"w\"\n"));
    assert!(
        folder
            .load()
            .unwrap()
            .get("w")
            .unwrap()
            .local_source
            .is_some()
    );
}

#[test]
fn a_folder_without_recipes_or_none_at_all_is_an_error() {
    let folder = RecipeFolder::new();
    let error = folder.load().unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read /") && error.contains("/recipes: "),
        "{error}"
    );
    folder.file("notes.txt", "");
    let error = folder.load().unwrap_err().to_string();
    assert!(error.contains("holds no recipe"), "{error}");
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_the_reader_panic(
            lines in proptest::collection::vec("(name|version|source|extra|final|platform|inputs|[a-z.]{0,3})? ?(=|\\[|\\]|\\{)? ?(\"[a-z$/:é]{0,4}\"|\\[|\\]|1|\\{|\\}|true)?", 0..12)
        ) {
            let folder = [("recipe.toml".to_owned(), lines.join("\n").into_bytes())].into();
            let (recipe, errors) = parse::parse("recipes", "x", &folder);
            prop_assert!(recipe.is_some() || !errors.is_empty());
            let errors = RecipeErrors::new(errors);
            prop_assert!(errors.is_none_or(|errors| !errors.render(false).is_empty()));
        }
    }
}

/// What reading recipes of `folder` fails with.
fn unreadable(folder: &RecipeFolder) -> String {
    folder.load().unwrap_err().to_string()
}

#[test]
fn links_in_a_folder_of_recipes_are_not_followed() {
    use std::os::unix::fs::symlink;

    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let new = || {
        let folder = RecipeFolder::new();
        folder.file(
            "sed/recipe.toml",
            good("sed", "patches = [\"fix.patch\"]\n[final]\n"),
        );
        folder
    };
    // A patch, the recipe itself, the recipe's folder.
    for (link, target) in [
        ("sed/fix.patch", outside.path().join("secret")),
        ("tar/recipe.toml", outside.path().join("secret")),
        ("tar", outside.path().to_owned()),
    ] {
        let folder = new();
        if link != "sed/fix.patch" {
            folder.file("sed/fix.patch", "");
        }
        let place = folder.path().join(link);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        symlink(target, place).unwrap();
        let error = unreadable(&folder);
        assert!(
            error.contains(&format!("/{link} is a symbolic link")),
            "{error}"
        );
    }
    // What editors leave does not count.
    let folder = new();
    folder.file("sed/fix.patch", "");
    symlink("user@host.123", folder.path().join("sed/.#recipe.toml")).unwrap();
    symlink("nowhere", folder.path().join(".#sed")).unwrap();
    folder.load().unwrap();
    // The folder itself is the user's word.
    let elsewhere = outside.path().join("recipes");
    symlink(folder.path(), &elsewhere).unwrap();
    load(&RecipeSource::Directory(elsewhere)).unwrap();
}

#[test]
fn links_in_the_folder_of_phases_are_not_followed() {
    use std::os::unix::fs::symlink;

    let directory = tempfile::tempdir().unwrap();
    let recipes = directory.path().join("recipes/sed");
    std::fs::create_dir_all(&recipes).unwrap();
    std::fs::write(recipes.join("recipe.toml"), good("sed", "[final]\n")).unwrap();
    let source = RecipeSource::Directory(directory.path().join("recipes"));
    let stage0 = directory.path().join("stage0");
    std::fs::create_dir(&stage0).unwrap();
    std::fs::write(stage0.join("gnu-build-system.sh"), ":\n").unwrap();
    load(&source).unwrap();
    symlink("/etc/passwd", stage0.join("more.sh")).unwrap();
    let error = load(&source).unwrap_err().to_string();
    assert!(
        error.contains("stage0/more.sh is a symbolic link"),
        "{error}"
    );
    // Nor is the folder.
    std::fs::rename(&stage0, directory.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &stage0).unwrap();
    let error = load(&source).unwrap_err().to_string();
    assert!(error.contains("stage0 is a symbolic link"), "{error}");
}
