// SPDX-License-Identifier: GPL-3.0-or-later
//! Which commit a derivation asks for. What a client writes here must not be an option or a program to git.

use crate::builder::builtin::BuiltinError;
use crate::builder::graph::BuildJob;
use crate::fetch::attributes::has_method;
use crate::formats::scheme::Datum;
use crate::formats::secrets::without_secrets;
use crate::formats::store_path::FixedOutputMethod;
use crate::formats::visible::visible;

/// What git may speak: the transports of the URL, of submodules and of redirects.
pub(super) const PROTOCOLS: &str = "http:https:git";

/// What a derivation asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkout {
    /// The repository, on the network.
    pub(super) url: String,
    /// A hash or a tag.
    pub(super) commit: String,
    /// With submodules.
    pub(super) recursive: bool,
}

impl Checkout {
    /// Reads the derivation.
    pub(super) fn of(job: BuildJob<'_>) -> Result<Self, BuiltinError> {
        let wrong = |problem: String| BuiltinError::Derivation(problem);
        let fixed = job.derivation.fixed_output();
        if fixed.is_none_or(|fixed| fixed.method != FixedOutputMethod::Recursive) {
            return Err(wrong(
                "a checkout has one output, `out`, whose recursive hash is known".to_owned(),
            ));
        }
        let environment = &job.derivation.environment;
        let attribute = |name: &'static str| {
            let text = environment.text(name);
            text.ok_or_else(|| wrong(format!("the attribute `{name}` is missing, or not UTF-8")))
        };
        let text = attribute("url")?;
        let url = Datum::parse_first(text).ok();
        let url = url.as_ref().and_then(|(datum, _)| datum.string());
        let url = url.ok_or_else(|| {
            let text = visible(text);
            wrong(format!(
                "`url` is not a string, written as Scheme data: `{text}`"
            ))
        })?;
        if !is_allowed_url(url) {
            let url = visible(without_secrets(url).as_ref());
            return Err(wrong(format!(
                "`url`: expected https://, http:// or git://, saw `{url}`"
            )));
        }
        let commit = attribute("commit")?;
        if !is_commit(commit) {
            let commit = visible(commit);
            return Err(wrong(format!(
                "`commit`: expected a commit's hash or a tag, saw `{commit}`"
            )));
        }
        if !has_method(environment.text("download-methods"), "upstream") {
            return Err(wrong(
                "`download-methods` does not have `upstream`, and a checkout has no other here"
                    .to_owned(),
            ));
        }
        Ok(Self {
            url: url.to_owned(),
            commit: commit.to_owned(),
            recursive: environment.text("recursive?") == Some("#t"),
        })
    }
}

/// Whether git may be given `url`: it names a host, and a transport of [`PROTOCOLS`].
fn is_allowed_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let scheme = scheme.to_ascii_lowercase();
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    PROTOCOLS.split(':').any(|known| known == scheme)
        && host.starts_with(|first: char| first.is_alphanumeric() || first == '[')
        && !url
            .chars()
            .any(|one| one.is_control() || one.is_whitespace())
}

/// Whether `text` is a hash or the name of a tag or branch (git-check-ref-format(1)), and not an option, range or
/// refspec.
fn is_commit(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphanumeric() || first == '_')
        && !text.contains("..")
        && !text.contains("@{")
        && !text
            .chars()
            .any(|one| one.is_control() || one.is_whitespace() || "~^:?*[\\".contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_the_network_are_given_to_git() {
        for url in [
            "https://example.org/x.git",
            "HTTP://user@example.org:80/x",
            "git://[::1]/x",
            "https://example.org",
        ] {
            assert!(is_allowed_url(url), "{url}");
        }
        for url in [
            "",
            "/etc",
            "../x",
            "file:///etc",
            "FILE:///etc",
            "ext::sh -c true",
            "ext::https://x",
            "ssh://example.org/x",
            "user@example.org:x",
            "http:x",
            "https:///etc",
            "https://-oProxyCommand=x/y",
            "https://user@-x/y",
            "--upload-pack=x",
            "--upload-pack=x://y",
            "https://example.org/a b",
            "https://example.org/\n",
            "transport::https://example.org/",
        ] {
            assert!(!is_allowed_url(url), "{url}");
        }
    }

    #[test]
    fn a_commit_is_no_option_and_no_refspec() {
        for commit in ["0123abcd", "v1.0", "release/1.0", "_x", "1.0+dfsg-1", "a@b"] {
            assert!(is_commit(commit), "{commit}");
        }
        for commit in [
            "",
            "-x",
            "--upload-pack=x",
            "+main",
            "a:b",
            "a..b",
            "a b",
            "a\n",
            "HEAD~1",
            "a^{tree}",
            "a@{1}",
            ":/x",
            "*",
        ] {
            assert!(!is_commit(commit), "{commit}");
        }
    }
}
