//! `mirror://NAME/PATH`: one short spelling for several servers that hold the same files.

/// The mirrors by name, each a list of prefixes in the order in which they are tried.
///
/// The first for GNU redirects to a mirror nearby, which spares the main server.
const MIRRORS: &[(&str, &[&str])] = &[
    (
        "gnu",
        &[
            "https://ftpmirror.gnu.org/gnu/",
            "https://ftp.gnu.org/gnu/",
            "https://mirrors.kernel.org/gnu/",
        ],
    ),
    (
        "sourceware",
        &[
            "https://sourceware.org/pub/",
            "https://mirrors.kernel.org/sourceware/",
        ],
    ),
    ("savannah", &["https://download.savannah.gnu.org/releases/"]),
];

/// The URLs that `NAME/PATH` stands for; `None` where the mirror is not known or the path is empty.
pub fn expand(name_and_path: &str) -> Option<Vec<String>> {
    let (name, path) = name_and_path.split_once('/')?;
    let (_, prefixes) = MIRRORS.iter().find(|(known, _)| *known == name)?;
    if path.is_empty() {
        return None;
    }
    Some(
        prefixes
            .iter()
            .map(|prefix| format!("{prefix}{path}"))
            .collect(),
    )
}

/// The URLs that `url` stands for: several for a mirror, otherwise itself.
pub fn urls(url: &str) -> Vec<String> {
    url.strip_prefix("mirror://")
        .and_then(expand)
        .unwrap_or_else(|| vec![url.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_stands_for_several_servers_in_order() {
        let urls = urls("mirror://gnu/sed/sed-4.9.tar.xz");
        assert!(urls.len() > 1);
        assert_eq!(urls[1], "https://ftp.gnu.org/gnu/sed/sed-4.9.tar.xz");
        assert!(
            urls.iter()
                .all(|url| url.ends_with("/gnu/sed/sed-4.9.tar.xz"))
        );
    }

    #[test]
    fn other_urls_stand_for_themselves() {
        assert_eq!(urls("https://example.org/x"), ["https://example.org/x"]);
        assert_eq!(expand("gnu"), None);
        assert_eq!(expand("gnu/"), None);
        assert_eq!(expand("unknown/x"), None);
    }
}
