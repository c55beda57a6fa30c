// SPDX-License-Identifier: GPL-3.0-or-later
//! Metadata that FreeBSD has beyond POSIX: file flags, such as `uchg`, which forbid any other change; ACLs, which may
//! let others write whatever the mode says; and extended attributes.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::Metadata;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::freebsd::fs::MetadataExt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{CanonicalError, failed};

unsafe extern "C" {
    /// lchflags(2): sets the flags of a file, of a symbolic link itself where it is one.
    fn lchflags(path: *const c_char, flags: c_ulong) -> c_int;
    /// lpathconf(2): what the file system of a file can do.
    fn lpathconf(path: *const c_char, name: c_int) -> c_long;
    /// acl_get(3)
    fn acl_get_link_np(path: *const c_char, kind: c_int) -> *mut c_void;
    /// acl_set(3)
    fn acl_set_link_np(path: *const c_char, kind: c_int, acl: *mut c_void) -> c_int;
    /// acl_delete(3)
    fn acl_delete_def_link_np(path: *const c_char) -> c_int;
    /// acl_is_trivial_np(3): whether it says nothing beyond the mode.
    fn acl_is_trivial_np(acl: *mut c_void, trivial: *mut c_int) -> c_int;
    /// acl_strip_np(3): a copy that says nothing beyond the mode.
    fn acl_strip_np(acl: *mut c_void, recalculate_mask: c_int) -> *mut c_void;
    /// acl_free(3)
    fn acl_free(acl: *mut c_void) -> c_int;
    /// extattr(2): the names, each after a byte with its length.
    fn extattr_list_link(
        path: *const c_char,
        space: c_int,
        data: *mut c_void,
        size: usize,
    ) -> isize;
    /// extattr(2)
    fn extattr_delete_link(path: *const c_char, space: c_int, name: *const c_char) -> c_int;
}

// `<sys/unistd.h>`, `<sys/acl.h>` and `<sys/extattr.h>`.
const PC_ACL_EXTENDED: c_int = 59;
const PC_ACL_NFS4: c_int = 64;
const ACL_TYPE_ACCESS: c_int = 2;
const ACL_TYPE_NFS4: c_int = 4;
const EXTATTR_NAMESPACE_USER: c_int = 1;

/// An ACL in the C library's form, freed with this.
struct Acl(*mut c_void);

impl Drop for Acl {
    fn drop(&mut self) {
        // SAFETY: it came from `acl_get_link_np` or `acl_strip_np`, is not null, and is freed once.
        unsafe { acl_free(self.0) };
    }
}

impl Acl {
    /// That of the file `name`.
    fn of(name: &CStr, kind: c_int) -> io::Result<Self> {
        // SAFETY: the string is NUL-terminated and outlives the call, which keeps no pointer to it.
        Self::checked(unsafe { acl_get_link_np(name.as_ptr(), kind) })
    }

    fn checked(acl: *mut c_void) -> io::Result<Self> {
        match acl.is_null() {
            true => Err(io::Error::last_os_error()),
            false => Ok(Self(acl)),
        }
    }

    fn is_trivial(&self) -> io::Result<bool> {
        let mut trivial = 0;
        // SAFETY: both are live; only the number is written to.
        match unsafe { acl_is_trivial_np(self.0, &raw mut trivial) } {
            0 => Ok(trivial != 0),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// What is left of it when it says nothing beyond the mode.
    fn stripped(&self) -> io::Result<Self> {
        // SAFETY: it is live, and what comes back is another one.
        Self::checked(unsafe { acl_strip_np(self.0, 0) })
    }
}

/// The kind of ACL that the file system of `name` has for it, if it has any.
fn kind_of_acl(name: &CStr) -> Option<c_int> {
    // SAFETY: the string is NUL-terminated and outlives the call.
    let has = |what| unsafe { lpathconf(name.as_ptr(), what) } > 0;
    if has(PC_ACL_NFS4) {
        return Some(ACL_TYPE_NFS4);
    }
    has(PC_ACL_EXTENDED).then_some(ACL_TYPE_ACCESS)
}

/// Whether the file `name`, no symbolic link, has an ACL that says more than its mode.
fn has_acl(name: &CStr) -> io::Result<bool> {
    match kind_of_acl(name) {
        Some(kind) => Ok(!Acl::of(name, kind)?.is_trivial()?),
        None => Ok(false),
    }
}

/// Takes from the file `name`, no symbolic link, what its ACL says beyond its mode. A change of mode does that on no
/// file system for certain: on ZFS it depends on a property (`aclmode`), and there is none where the mode is right.
fn strip_acl(name: &CStr, is_directory: bool) -> io::Result<()> {
    let Some(kind) = kind_of_acl(name) else {
        return Ok(());
    };
    let acl = Acl::of(name, kind)?;
    if !acl.is_trivial()? {
        let stripped = acl.stripped()?;
        // SAFETY: both are live, and the call keeps neither.
        if unsafe { acl_set_link_np(name.as_ptr(), kind, stripped.0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    if kind == ACL_TYPE_ACCESS && is_directory {
        // SAFETY: the string is NUL-terminated and outlives the call.
        if unsafe { acl_delete_def_link_np(name.as_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Removes the extended attributes of the file `name` that its owner may set. Those of the system's name space need
/// privileges.
fn strip_attributes(name: &CStr) -> io::Result<()> {
    let space = EXTATTR_NAMESPACE_USER;
    let list = |names: &mut [u8]| {
        let (start, size) = match names.len() {
            0 => (std::ptr::null_mut(), 0),
            size => (names.as_mut_ptr().cast(), size),
        };
        // SAFETY: the string is NUL-terminated, and the buffer is writable for its size or null with none.
        let listed = unsafe { extattr_list_link(name.as_ptr(), space, start, size) };
        usize::try_from(listed).map_err(|_| io::Error::last_os_error())
    };
    let size = match list(&mut []) {
        Ok(0) => return Ok(()),
        Ok(size) => size,
        // The file system has none.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut names = vec![0; size];
    let size = list(&mut names)?;
    let mut rest = names.get(..size).unwrap_or(&names);
    while let Some((length, after)) = rest.split_first() {
        let length = usize::from(*length).min(after.len());
        let (attribute, others) = after.split_at(length);
        let attribute = CString::new(attribute)?;
        // SAFETY: both strings are NUL-terminated and outlive the call.
        if unsafe { extattr_delete_link(name.as_ptr(), space, attribute.as_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        rest = others;
    }
    Ok(())
}

fn name_of(path: &Path) -> Result<CString, CanonicalError> {
    CString::new(path.as_os_str().as_bytes()).map_err(failed("name", path))
}

/// Clears the file flags of `path`, its ACL and its extended attributes.
pub(super) fn strip(path: &Path, metadata: &Metadata) -> Result<(), CanonicalError> {
    // UF_ARCHIVE is set by the file system itself and means nothing.
    const UF_ARCHIVE: u32 = 0x0000_0800;
    let name = name_of(path)?;
    if metadata.st_flags() & !UF_ARCHIVE != 0 {
        // SAFETY: `name` is a NUL-terminated string that lives until the call returns, and the call keeps no pointer to
        // it.
        if unsafe { lchflags(name.as_ptr(), 0) } != 0 {
            let error = io::Error::last_os_error();
            return Err(failed("clear the flags of", path)(error));
        }
    }
    if !metadata.is_symlink() {
        strip_acl(&name, metadata.is_dir()).map_err(failed("remove the ACL of", path))?;
    }
    strip_attributes(&name).map_err(failed("remove the extended attributes of", path))
}

/// What `path` has that [`strip`] would take away, in words, where that matters to others than its owner.
pub(super) fn deviation(
    path: &Path,
    metadata: &Metadata,
) -> Result<Option<String>, CanonicalError> {
    if metadata.is_symlink() {
        return Ok(None);
    }
    let has_acl = has_acl(&name_of(path)?).map_err(failed("read the ACL of", path))?;
    Ok(has_acl.then(|| "expected no ACL, saw one".to_owned()))
}

/// Whether what is made in a new directory certainly inherits nothing: directories may have ACLs that are inherited.
pub(super) fn inherits_nothing(_: BorrowedFd<'_>) -> bool {
    false
}
