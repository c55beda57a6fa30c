//! `mirror://NAME/REST` in a recipe stands for the same path on a few hosts, as in Guix.

/// The lists: where a site redirects to a mirror near the reader it comes first, its origin last.
const MIRRORS: &[(&str, &[&str])] = &[
    (
        "gnu",
        &[
            "https://ftpmirror.gnu.org/gnu/",
            "https://mirrors.kernel.org/gnu/",
            "https://ftp.gnu.org/gnu/",
        ],
    ),
    (
        "savannah",
        &[
            "https://download.savannah.gnu.org/releases/",
            "https://download-mirror.savannah.gnu.org/releases/",
        ],
    ),
    (
        "sourceware",
        &[
            "https://sourceware.org/pub/",
            "https://mirrors.kernel.org/sourceware/",
        ],
    ),
];

/// The names of the lists.
pub fn names() -> impl Iterator<Item = &'static str> {
    MIRRORS.iter().map(|(name, _)| *name)
}

/// `url` itself, or the URLs that a `mirror://` one stands for, in the order to try them. The error is the name
/// of an unknown list.
pub fn expand(url: &str) -> Result<Vec<String>, String> {
    let Some(rest) = url.strip_prefix("mirror://") else {
        return Ok(vec![url.to_owned()]);
    };
    let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (_, hosts) = MIRRORS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| name.to_owned())?;
    Ok(hosts.iter().map(|host| format!("{host}{path}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_url_becomes_one_url_for_each_host_in_order() {
        let urls = expand("mirror://gnu/sed/sed-4.9.tar.xz").unwrap();
        assert!(urls.len() > 1);
        assert!(
            urls.iter()
                .all(|url| url.ends_with("/gnu/sed/sed-4.9.tar.xz"))
        );
        assert_eq!(
            urls.last().unwrap(),
            "https://ftp.gnu.org/gnu/sed/sed-4.9.tar.xz"
        );
    }

    #[test]
    fn other_urls_stay_and_unknown_lists_are_errors() {
        assert_eq!(expand("https://a/b").unwrap(), ["https://a/b"]);
        assert_eq!(expand("mirror://nowhere/x").unwrap_err(), "nowhere");
    }
}
