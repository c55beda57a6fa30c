//! Forcing what was written to the disk, for stores that are to survive a power cut without a scratch.

use std::fs::File;
use std::io;
use std::path::Path;

/// Returns once everything written to the file system of the directory `store` is on the disk.
#[cfg(target_os = "linux")]
pub(super) fn flush(store: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(store)?)?)
}

/// Returns once everything written to the file system of the directory `store` is on its way to the disk.
///
/// There is no way to wait for one whole file system here; `sync` starts all writes, and a sync of the directory, which
/// was changed last, waits for the journal.
#[cfg(not(target_os = "linux"))]
pub(super) fn flush(store: &Path) -> io::Result<()> {
    rustix::fs::sync();
    File::open(store)?.sync_all()
}
