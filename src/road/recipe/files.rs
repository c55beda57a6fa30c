//! Where recipes come from: the copy inside the binary, or a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

/// The recipes as they were when the binary was built.
static RECIPES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/recipes");
/// The phases that run every build.
static PHASES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/stage0");

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RecipeSource {
    /// The recipes and phases inside the binary.
    #[default]
    Embedded,
    /// A folder of recipes. The phases are those in the folder `stage0` beside it, where there is one, as in the
    /// project's own source tree, else the binary's.
    Directory(PathBuf),
}

/// A recipe's folder: file contents by name.
pub(super) type Folder = BTreeMap<String, Vec<u8>>;

/// All that was read: no file is opened after this.
#[derive(Debug)]
pub(super) struct Files {
    /// What to put before a recipe's folder in messages.
    pub shown: String,
    /// The folders that have a recipe.toml, by name.
    pub folders: BTreeMap<String, Folder>,
    /// The phases, by their paths below their folder, `/` between the parts.
    pub phases: BTreeMap<String, Vec<u8>>,
}

/// A file or folder that could not be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read {what} {path}: {error}", path = path.display())]
pub struct UnreadableRecipes {
    what: &'static str,
    path: PathBuf,
    error: std::io::Error,
}

impl Files {
    /// Reads everything of `source` into memory.
    pub(super) fn read(source: &RecipeSource) -> Result<Self, UnreadableRecipes> {
        match source {
            RecipeSource::Embedded => Ok(Self {
                shown: "recipes".to_owned(),
                folders: RECIPES
                    .dirs()
                    .map(|folder| (base_name(folder.path()), embedded_files(folder)))
                    .filter(|(_, files)| files.contains_key("recipe.toml"))
                    .collect(),
                phases: embedded_phases(),
            }),
            RecipeSource::Directory(directory) => Self::read_directory(directory),
        }
    }

    fn read_directory(directory: &Path) -> Result<Self, UnreadableRecipes> {
        let mut folders = BTreeMap::new();
        let entries = list(directory, "the folder of recipes")?;
        for path in entries.into_iter().filter(|path| path.is_dir()) {
            let files = read_files(&path)?;
            if files.contains_key("recipe.toml") {
                folders.insert(base_name(&path), files);
            }
        }
        let beside = match directory.canonicalize() {
            Ok(whole) => whole.parent().map(|parent| parent.join("stage0")),
            Err(_) => None,
        };
        let phases = match beside {
            Some(beside) if beside.join("gnu-build-system.sh").is_file() => read_tree(&beside)?,
            _ => embedded_phases(),
        };
        Ok(Self {
            shown: directory.display().to_string(),
            folders,
            phases,
        })
    }
}

/// Whether a file takes part: editors leave others behind.
fn counts(name: &str) -> bool {
    !name.starts_with('.') && !name.ends_with('~')
}

fn base_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn embedded_files(folder: &Dir<'_>) -> BTreeMap<String, Vec<u8>> {
    folder
        .files()
        .map(|file| (base_name(file.path()), file.contents().to_vec()))
        .filter(|(name, _)| counts(name))
        .collect()
}

fn embedded_phases() -> BTreeMap<String, Vec<u8>> {
    fn add(folder: &Dir<'_>, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        for (name, contents) in embedded_files(folder) {
            files.insert(format!("{prefix}{name}"), contents);
        }
        for below in folder.dirs() {
            let name = base_name(below.path());
            if counts(&name) {
                add(below, &format!("{prefix}{name}/"), files);
            }
        }
    }
    let mut files = BTreeMap::new();
    add(&PHASES, "", &mut files);
    files
}

fn read_tree(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, UnreadableRecipes> {
    let mut files = read_files(folder)?;
    for below in list(folder, "the folder")? {
        let name = base_name(&below);
        // A link to a folder would lead out of the tree, or around in it.
        if counts(&name) && below.is_dir() && !below.is_symlink() {
            for (path, contents) in read_tree(&below)? {
                files.insert(format!("{name}/{path}"), contents);
            }
        }
    }
    Ok(files)
}

fn read_files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, UnreadableRecipes> {
    let mut files = BTreeMap::new();
    for path in list(folder, "the folder")? {
        let name = base_name(&path);
        if counts(&name) && path.is_file() {
            let contents = std::fs::read(&path).map_err(|error| UnreadableRecipes {
                what: "the file",
                path: path.clone(),
                error,
            })?;
            files.insert(name, contents);
        }
    }
    Ok(files)
}

/// What lies in `directory`, sorted.
fn list(directory: &Path, what: &'static str) -> Result<Vec<PathBuf>, UnreadableRecipes> {
    let failed = |error| UnreadableRecipes {
        what,
        path: directory.to_owned(),
        error,
    };
    let mut paths = std::fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}
