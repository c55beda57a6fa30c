// SPDX-License-Identifier: GPL-3.0-or-later
//! The strings that archives are made of.

/// The first string of every archive.
pub(crate) const MAGIC: &[u8] = b"nix-archive-1";

/// The number of zeros that follow a string of `length` bytes.
pub(crate) fn padding(length: u64) -> usize {
    // At most 7.
    (length.wrapping_neg() % 8) as usize
}

/// Appends one string: length, bytes, padding.
pub(crate) fn string(archive: &mut Vec<u8>, bytes: &[u8]) {
    archive.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    archive.extend_from_slice(bytes);
    archive.resize(archive.len() + padding(bytes.len() as u64), 0);
}

/// Appends several strings.
pub(crate) fn strings(archive: &mut Vec<u8>, strings: &[&[u8]]) {
    for bytes in strings {
        string(archive, bytes);
    }
}

/// Appends what comes before the node of the entry `name`.
pub(crate) fn entry_start(archive: &mut Vec<u8>, name: &[u8]) {
    strings(archive, &[b"entry", b"(", b"name", name, b"node"]);
}

/// Appends what comes after the node of an entry.
pub(crate) fn entry_end(archive: &mut Vec<u8>) {
    string(archive, b")");
}

/// Appends a directory node up to its first entry.
pub(crate) fn directory_start(archive: &mut Vec<u8>) {
    strings(archive, &[b"(", b"type", b"directory"]);
}

/// Appends what comes after the last entry of a directory.
pub(crate) fn directory_end(archive: &mut Vec<u8>) {
    string(archive, b")");
}

/// Appends a regular file's node up to its first byte of content.
pub(crate) fn file_start(archive: &mut Vec<u8>, executable: bool, size: u64) {
    strings(archive, &[b"(", b"type", b"regular"]);
    if executable {
        strings(archive, &[b"executable", b""]);
    }
    string(archive, b"contents");
    archive.extend_from_slice(&size.to_le_bytes());
}

/// Appends what comes after the last byte of a regular file's content.
pub(crate) fn file_end(archive: &mut Vec<u8>, size: u64) {
    archive.resize(archive.len() + padding(size), 0);
    string(archive, b")");
}

/// Appends a whole symbolic link node.
pub(crate) fn symlink(archive: &mut Vec<u8>, target: &[u8]) {
    strings(
        archive,
        &[b"(", b"type", b"symlink", b"target", target, b")"],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_padded_to_multiples_of_eight() {
        assert_eq!([0, 1, 7, 8, 9, u64::MAX].map(padding), [0, 7, 1, 0, 7, 1]);
        let mut archive = Vec::new();
        string(&mut archive, b"ab");
        assert_eq!(archive, b"\x02\0\0\0\0\0\0\0ab\0\0\0\0\0\0");
    }
}
