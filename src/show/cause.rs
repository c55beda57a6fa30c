// SPDX-License-Identifier: GPL-3.0-or-later
//! Which failures have one cause: those whose messages differ in names, file names and hashes alone.

/// `reason`, why `item` failed, without what differs between items that fail alike.
pub(super) fn cause(item: &str, reason: &str) -> String {
    let name = item.rsplit('/').next().unwrap_or(item);
    let own = |word: &str| word.contains(item) || word.contains(name);
    let is_hash = |word: &str| {
        let word = word.trim_matches(|character: char| !character.is_ascii_alphanumeric());
        word.len() >= 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let words = reason
        .split(' ')
        .map(|word| match own(word) || is_hash(word) {
            true => "…",
            false => word,
        });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_hashes_do_not_make_another_cause() {
        let reason = |name: &str, hash: &str| {
            format!(
                "{name} (SHA-256 {hash}) is not in the cache, and --offline forbids fetching it"
            )
        };
        let of = |item: &str, name: &str, hash: &str| cause(item, &reason(name, hash));
        let one = of("source/a.tar", "a.tar", &"a".repeat(64));
        assert_eq!(one, of("seed/b.deb", "b.deb", &"b".repeat(64)));
        assert_ne!(one, cause("source/a.tar", "a.tar: no such file"));
    }
}
