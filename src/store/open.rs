// SPDX-License-Identifier: GPL-3.0-or-later
//! The store as a whole: opening it and locking in it.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

use super::database::{Access, Database};
use super::error::DatabaseError;
use super::error::LockError;
use super::error::StoreError;
use super::file_lock::{FileLock, LockMode};
use super::hashes_modulo::HashesModulo;
use super::lock_policy::LockPolicy;
use super::mount;
use super::names::is_work_in_progress;
use super::path_locks::PathLocks;
use super::remove;
use super::schema;
use super::temporary_roots::TemporaryRoots;
use super::trash::Trash;
use crate::diagnostics::FileError;
use crate::formats::store_path::StorePath;
use crate::store::directories::{Directories, free_space};

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Whether it may be changed.
    pub access: Access,
    /// How long to wait for locks, and whom to tell.
    pub lock_policy: LockPolicy,
    /// How long to wait for another process' database transaction. Those take milliseconds.
    pub database_timeout: Duration,
    /// Whether files of new items become hard links of equal files in the store: guix-daemon does that unless it is
    /// started with `--disable-deduplication`.
    pub deduplicate: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            access: Access::ReadWrite,
            lock_policy: LockPolicy::default(),
            database_timeout: Duration::from_secs(60),
            deduplicate: false,
        }
    }
}

/// A store: its directory, its database, and this process' share in its locks. Shared by threads as it is.
#[derive(Debug)]
pub struct Store {
    directories: Directories,
    pub(super) database: Database,
    pub(super) temporary_roots: Arc<TemporaryRoots>,
    pub(super) options: OpenOptions,
    /// Keeps the daemon from upgrading the schema under us.
    #[allow(dead_code)] // Held, not read.
    schema_lock: Option<FileLock>,
    /// Whether the file system keeps times, where that was tried.
    pub(super) keeps_times: OnceLock<bool>,
    pub(super) hashes_modulo: HashesModulo,
}

impl Store {
    /// Opens the store in `directories` for reading and writing; makes it where there is none.
    pub fn open(directories: Directories) -> Result<Self, StoreError> {
        Self::open_with(directories, OpenOptions::default())
    }

    /// Opens the store in `directories`.
    pub fn open_with(
        mut directories: Directories,
        options: OpenOptions,
    ) -> Result<Self, StoreError> {
        let database_directory = directories.state.join("db");
        if options.access == Access::ReadOnly {
            let file = database_directory.join("db.sqlite");
            // A store that was never made is empty; one whose database is gone is not.
            if schema::version(&database_directory)?.is_none() {
                refuse_orphans(&directories.store, &file)?;
            } else if !file.exists() {
                let evidence = database_directory.join("schema");
                return Err(DatabaseError::Missing {
                    path: file,
                    evidence,
                }
                .into());
            }
            let database = Database::open_read_only(
                &database_directory,
                directories.store_dir.clone(),
                options.database_timeout,
            )?;
            return Ok(Self {
                temporary_roots: TemporaryRoots::of_process(&directories.state),
                directories,
                database,
                options,
                schema_lock: None,
                keeps_times: OnceLock::new(),
                hashes_modulo: HashesModulo::default(),
            });
        }

        make_directories(&mut directories)?;
        let database_directory = directories.state.join("db");
        let lock = |mode| lock_users(&database_directory, mode, &options.lock_policy);
        if schema::version(&database_directory)?.is_none() {
            let exclusive = lock(LockMode::Exclusive)?;
            // Another process may have been faster.
            if schema::version(&database_directory)?.is_none() {
                refuse_orphans(&directories.store, &database_directory.join("db.sqlite"))?;
                Database::open(
                    &database_directory,
                    directories.store_dir.clone(),
                    true,
                    options.database_timeout,
                )?;
                schema::write_version(&database_directory)?;
                furnish(&directories.state)?;
            }
            drop(exclusive);
        }
        let schema_lock = Some(lock(LockMode::Shared)?);
        if let Some(version) = schema::version(&database_directory)?
            .filter(|version| *version != schema::SCHEMA_VERSION)
        {
            tracing::warn!(
                "Nix has upgraded the store database to schema version {version}, which guix-daemon refuses: see \
                 \"A store that Nix has opened\" in docs/sharing.md"
            );
        }
        let open = || {
            Database::open(
                &database_directory,
                directories.store_dir.clone(),
                false,
                options.database_timeout,
            )
        };
        let database = match open() {
            // On a full disk even the index of the log has no room, and no collector could start.
            Err(DatabaseError::Full { .. })
                if std::fs::remove_file(reserve(&directories.state)).is_ok() =>
            {
                open()?
            }
            opened => opened?,
        };
        make_reserve(&directories.state);
        Ok(Self {
            temporary_roots: TemporaryRoots::of_process(&directories.state),
            directories,
            database,
            options,
            schema_lock,
            keeps_times: OnceLock::new(),
            hashes_modulo: HashesModulo::default(),
        })
    }

    /// The store in `directories` with a database elsewhere that only the caller uses. The caller got the
    /// directories through [`make_directories`] and keeps all other processes from using the store.
    pub(super) fn with_database(
        directories: Directories,
        database: Database,
        options: OpenOptions,
    ) -> Self {
        Self {
            temporary_roots: TemporaryRoots::of_process(&directories.state),
            directories,
            database,
            options,
            schema_lock: None,
            keeps_times: OnceLock::new(),
            hashes_modulo: HashesModulo::default(),
        }
    }

    /// Where everything is; store and state directory with symbolic links resolved.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Keeps `paths`, valid or not, from being collected as garbage while this process lives. Waits for a collector
    /// that is at work.
    ///
    /// To rely on a valid path, add it here first and ask whether it is valid then.
    pub fn add_temporary_roots<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath>,
    ) -> Result<(), StoreError> {
        self.writable()?;
        Ok(self.temporary_roots.add(
            &self.directories.store_dir,
            paths,
            &self.options.lock_policy,
        )?)
    }

    /// Keeps the entry `name` of the store directory, which is not that of a store item, as
    /// [`add_temporary_roots`](Self::add_temporary_roots) keeps paths. Clients that write items themselves, as `guix
    /// offload` does, make them under such names first.
    pub fn add_other_temporary_root(&self, name: &str) -> Result<(), StoreError> {
        self.writable()?;
        let path = format!("{}/{name}", self.directories.store_dir);
        Ok(self
            .temporary_roots
            .add_other(&path, &self.options.lock_policy)?)
    }

    /// Locks `paths` against all other threads and processes, as building or adding them requires; makes them temporary
    /// roots as well. Waits and reports as the store's [`LockPolicy`] says.
    ///
    /// A thread that holds locks and asks for more can wait for one that waits for it; so it should ask for all it
    /// needs at once.
    pub fn lock<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath> + Clone,
    ) -> Result<PathLocks, StoreError> {
        self.lock_while(paths, || true)
    }

    /// As [`lock`](Self::lock), and gives up soon after `goes_on` says no.
    pub fn lock_while<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath> + Clone,
        goes_on: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<PathLocks, StoreError> {
        self.add_temporary_roots(paths.clone())?;
        let store = &self.directories.store;
        let report = Arc::clone(&self.options.lock_policy.report);
        let policy = LockPolicy {
            timeout: self.options.lock_policy.timeout,
            report: Arc::new(move |waiting| match goes_on() {
                true => report(waiting),
                false => ControlFlow::Break(()),
            }),
        };
        Ok(PathLocks::acquire(store, paths, &policy)?)
    }

    /// Locks `paths` like [`lock`](Self::lock) if none of them is locked; otherwise gives `None` at once.
    pub fn try_lock<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p StorePath> + Clone,
    ) -> Result<Option<PathLocks>, StoreError> {
        self.add_temporary_roots(paths.clone())?;
        Ok(PathLocks::try_acquire(&self.directories.store, paths)?)
    }

    /// Whether the store was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.options.access == Access::ReadOnly
    }

    pub(super) fn writable(&self) -> Result<(), StoreError> {
        match self.options.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(StoreError::ReadOnly {
                path: self.directories.store.clone(),
            }),
        }
    }

    /// Removes the item `name` of the store directory, freeing its name at once. Returns the bytes given back.
    pub(super) fn remove_item(&self, name: &std::ffi::OsStr) -> Result<u64, StoreError> {
        let mut trash = Trash::of(&self.directories.store)?;
        let freed = match trash.put(name)? {
            Some(item) => remove::remove_tree(&item)?,
            None => 0,
        };
        trash.remove();
        Ok(freed)
    }

    /// The present time, as the database records it.
    pub(super) fn now() -> u64 {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(1, |duration| duration.as_secs())
    }
}

/// Makes the directories of a store where they are missing, and spells them in one way: locks of this process are known
/// by their path.
pub(super) fn make_directories(directories: &mut Directories) -> Result<(), StoreError> {
    let relocated = directories.store != Path::new(directories.store_dir.as_str());
    make_store_directory(&directories.store, relocated)?;
    mount::make_writable(&directories.store)
        .map_err(FileError::in_store(
            "write to the read-only mount",
            &directories.store,
        ))
        .map_err(StoreError::Directory)?;
    for name in ["", "db", "gcroots", "temproots", "profiles"] {
        make_directory(&directories.state.join(name), 0o755)?;
    }
    directories.store = canonical(&directories.store)?;
    directories.state = canonical(&directories.state)?;
    Ok(())
}

/// The lock that all users of the store share; exclusive while its database is made.
pub(super) fn lock_users(
    database_directory: &Path,
    mode: LockMode,
    lock_policy: &LockPolicy,
) -> Result<FileLock, StoreError> {
    let path = database_directory.join("big-lock");
    FileLock::acquire(path, mode, false, lock_policy).map_err(|error| match error {
        // The first file we open for writing: say what is really wrong.
        LockError::File(error) => StoreError::Directory(error),
        error => error.into(),
    })
}

/// Makes what goes with a new database in the state directory `state`.
pub(super) fn furnish(state: &Path) -> Result<(), StoreError> {
    reserve_space(&reserve(state));
    link_profiles(state)
}

fn make_directory(path: &Path, mode: u32) -> Result<(), StoreError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path);
    made.map_err(|source| StoreError::Directory(FileError::in_store("create", path)(source)))
}

fn canonical(path: &Path) -> Result<PathBuf, StoreError> {
    path.canonicalize()
        .map_err(|source| StoreError::Directory(FileError::in_store("resolve", path)(source)))
}

/// Makes the store directory where it is missing, and refuses symbolic links in it.
///
/// Root's store gets mode 1775, as Guix's daemon would give it: its build users may make files in it, and none may
/// remove another's. One that exists keeps its mode and owner, which are the daemon's business.
fn make_store_directory(path: &Path, relocated: bool) -> Result<(), StoreError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_directory(path, 0o755)?;
            if !relocated && rustix::process::geteuid().is_root() {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o1775)).map_err(
                    |source| {
                        StoreError::Directory(FileError::in_store("set the permissions of", path)(
                            source,
                        ))
                    },
                )?;
            }
        }
        Err(source) => {
            return Err(StoreError::Directory(FileError::in_store("examine", path)(
                source,
            )));
        }
    }
    // What lies above a relocated store, which builds see at its logical place, is its user's affair.
    let checked = path
        .ancestors()
        .take(if relocated { 1 } else { usize::MAX });
    for path in checked {
        if path.is_symlink() {
            return Err(StoreError::Symlink {
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}

/// Fails where the directory `store`, which has no database, holds an item: with an empty `database`, the collector
/// would take all of them for rubbish.
fn refuse_orphans(store: &Path, database: &Path) -> Result<(), StoreError> {
    let entries = match std::fs::read_dir(store) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(examine(store)(error)),
    };
    for entry in entries {
        let name = entry.map_err(examine(store))?.file_name();
        let name = name.to_str().filter(|name| !is_work_in_progress(name));
        if let Some(name) = name.filter(|name| StorePath::from_base_name(name).is_ok()) {
            let error = match database.exists() {
                true => DatabaseError::NoSchemaFile {
                    path: database.with_file_name("schema"),
                    database: database.to_owned(),
                },
                false => DatabaseError::Missing {
                    path: database.to_owned(),
                    evidence: store.join(name),
                },
            };
            return Err(error.into());
        }
    }
    Ok(())
}

fn examine(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Directory(FileError::in_store("examine", path.clone())(source))
}

/// The file that [`reserve_space`] makes.
pub(super) fn reserve(state: &Path) -> PathBuf {
    state.join("db/reserved")
}

/// The size of that file, in bytes.
pub(super) const RESERVED: u64 = 8 << 20;

/// Takes 8 MiB of disk space at `path`, as the daemon does, which the collector gives back before it starts: on a full
/// disk SQLite could not even record what goes. Without that memory, the store works without.
pub(super) fn reserve_space(path: &Path) {
    if let Ok(file) = std::fs::File::create(path) {
        let flags = rustix::fs::FallocateFlags::empty();
        let taken = match rustix::fs::fallocate(&file, flags, 0, RESERVED) {
            Err(errno @ (Errno::NOSPC | Errno::DQUOT)) => Err(errno.into()),
            // ZFS promises nothing ahead; on Linux it says that it does.
            Ok(()) if takes_all(&file) => Ok(()),
            _ => fill(file),
        };
        if taken.is_err() {
            // So that it is taken later, when there is room.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether the blocks of `file` are taken.
fn takes_all(file: &std::fs::File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata()
        .is_ok_and(|found| found.blocks() * 512 >= RESERVED)
}

/// Writes so much to `file`, in bytes that no file system compresses: of each state of a linear congruential generator
/// (D. E. Knuth's MMIX), one of its upper half.
pub(super) fn fill(mut file: std::fs::File) -> io::Result<()> {
    let mut state = 1_u64;
    let mut bytes = vec![0; 1 << 20];
    for _ in 0..RESERVED / bytes.len() as u64 {
        for byte in &mut bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 32) as u8;
        }
        file.write_all(&bytes)?;
    }
    file.sync_all()
}

/// Takes that space again where a collector that was killed has left it free, and where there is much more than that: a
/// collector may need it just now.
fn make_reserve(state: &Path) {
    let path = reserve(state);
    let is_missing =
        matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
    if is_missing && free_space(state).is_ok_and(|free| free >= 16 * RESERVED) {
        reserve_space(&path);
    }
}

/// Guix keeps its users' profiles beside the roots; the daemon would make the link where it makes the directory.
fn link_profiles(state: &Path) -> Result<(), StoreError> {
    let path = state.join("gcroots/profiles");
    match std::os::unix::fs::symlink("../profiles", &path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(StoreError::Directory(
            FileError::in_store("create", path)(source),
        )),
        _ => Ok(()),
    }
}
