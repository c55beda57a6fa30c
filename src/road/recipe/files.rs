// SPDX-License-Identifier: GPL-3.0-or-later
//! Where recipes come from: the copy inside the binary, or a folder.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::folder::{EntryKind, FolderBudget, OpenFolder, counts};
use super::unreadable::UnreadableRecipes;
use crate::formats::nar::Tree;

/// The recipes as they were when the binary was built.
static RECIPES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/recipes");
/// The phases that run every build, and the sources that are part of this project.
static PHASES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/stage0");

/// The file that says that a folder `stage0` is one of phases.
const MAIN_PHASES: &str = "gnu-build-system.sh";

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
pub(super) struct RecipeFiles {
    /// What to put before a recipe's folder in messages.
    pub shown: String,
    /// The folders that have a recipe.toml, by name.
    pub folders: BTreeMap<String, Folder>,
    /// The folder of phases.
    pub stage0: Stage0,
}

/// The folder `stage0`.
#[derive(Debug)]
pub(super) struct Stage0 {
    /// The phases: the files at its top, by name.
    pub phases: BTreeMap<String, Vec<u8>>,
    /// The folders in it, by name: sources that are part of the project.
    pub sources: BTreeMap<String, Tree>,
}

impl RecipeFiles {
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
                stage0: embedded_stage0(),
            }),
            RecipeSource::Directory(directory) => Self::read_directory(directory),
        }
    }

    fn read_directory(directory: &Path) -> Result<Self, UnreadableRecipes> {
        let mut budget = FolderBudget::default();
        let top = OpenFolder::open(directory)?;
        let mut folders = BTreeMap::new();
        for (name, kind) in top.entries()? {
            match kind {
                _ if !counts(&name) => {}
                EntryKind::Folder => {
                    if let Some(folder) = top.folder(&name)? {
                        let files = read_files(&folder, "a file", &mut budget)?;
                        if files.contains_key("recipe.toml") {
                            folders.insert(utf8(&top, &name)?, files);
                        }
                    }
                }
                // A README, a licence.
                EntryKind::File => {}
                EntryKind::Symlink | EntryKind::Other => {
                    return Err(top.refused(&name, kind, "the folder of a recipe"));
                }
            }
        }
        Ok(Self {
            shown: directory.display().to_string(),
            folders,
            stage0: match beside(directory)? {
                Some(stage0) => read_stage0(&stage0, &mut budget)?,
                None => embedded_stage0(),
            },
        })
    }
}

/// The folder of phases beside the folder of recipes `directory`, where there is one.
fn beside(directory: &Path) -> Result<Option<OpenFolder>, UnreadableRecipes> {
    let Some(parent) = directory
        .canonicalize()
        .ok()
        .and_then(|whole| whole.parent().map(Path::to_owned))
    else {
        return Ok(None);
    };
    let Some(stage0) = OpenFolder::open(&parent)?.folder(OsStr::new("stage0"))? else {
        return Ok(None);
    };
    let entries = stage0.entries()?;
    let is_one = entries.iter().any(|(name, _)| name == MAIN_PHASES);
    Ok(is_one.then_some(stage0))
}

fn read_stage0(
    folder: &OpenFolder,
    budget: &mut FolderBudget,
) -> Result<Stage0, UnreadableRecipes> {
    let phases = read_files(folder, "a file or folder", budget)?;
    let mut sources = BTreeMap::new();
    for (name, kind) in folder.entries()? {
        if kind == EntryKind::Folder
            && counts(&name)
            && let Some(source) = folder.folder(&name)?
        {
            sources.insert(utf8(folder, &name)?, source.tree(budget)?);
        }
    }
    Ok(Stage0 { phases, sources })
}

/// The files at the top of `folder`, whose other entries are to be what `expected` says.
fn read_files(
    folder: &OpenFolder,
    expected: &'static str,
    budget: &mut FolderBudget,
) -> Result<Folder, UnreadableRecipes> {
    let mut files = Folder::new();
    for (name, kind) in folder.entries()? {
        match kind {
            _ if !counts(&name) => {}
            EntryKind::File => {
                let (_, contents) = folder.file(&name, budget)?;
                files.insert(utf8(folder, &name)?, contents);
            }
            EntryKind::Folder => {}
            EntryKind::Symlink | EntryKind::Other => {
                return Err(folder.refused(&name, kind, expected));
            }
        }
    }
    Ok(files)
}

fn utf8(folder: &OpenFolder, name: &OsStr) -> Result<String, UnreadableRecipes> {
    match name.to_str() {
        Some(name) => Ok(name.to_owned()),
        None => Err(UnreadableRecipes::Name {
            path: folder.path().join(name),
        }),
    }
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
        .filter(|(name, _)| counts(OsStr::new(name)))
        .collect()
}

fn embedded_stage0() -> Stage0 {
    let folders = PHASES.dirs();
    Stage0 {
        phases: embedded_files(&PHASES),
        sources: folders
            .map(|folder| (base_name(folder.path()), embedded_tree(folder)))
            .collect(),
    }
}

/// The copy inside the binary has no modes: none of the project's own sources is executable, which a test checks.
fn embedded_tree(folder: &Dir<'_>) -> Tree {
    let name = |path: &Path| path.file_name().map(OsString::from).unwrap_or_default();
    let files = folder
        .files()
        .map(|file| (name(file.path()), Tree::file(file.contents())));
    let folders = folder
        .dirs()
        .map(|below| (name(below.path()), embedded_tree(below)));
    Tree::Directory(files.chain(folders).collect())
}
