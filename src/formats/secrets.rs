// SPDX-License-Identifier: GPL-3.0-or-later
//! Hides the secrets of URLs in text that is shown or recorded.
//!
//! A user name and password before the host, and the values of query parameters such as `token` or `X-Amz-Signature`,
//! are replaced by `***`. The text around a URL stays as it is, so whole messages can be given.

use std::borrow::Cow;

/// What stands for a secret.
const HIDDEN: &str = "***";
/// A query parameter is secret if its name contains one of these words.
const SECRET_NAMES: [&str; 7] = [
    "token",
    "key",
    "secret",
    "sig",
    "pass",
    "auth",
    "credential",
];

/// `text` with the secrets of all its URLs hidden.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, url) = rest.split_at(start + 3);
        shown.push_str(before);
        let end = url.find(ends_url).unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        push_url(&mut shown, url);
        rest = after;
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Whether a URL in a message ends before `character`.
fn ends_url(character: char) -> bool {
    character.is_whitespace() || character.is_control() || "\"'`<>".contains(character)
}

/// Adds `url`, from its host on.
fn push_url(shown: &mut String, url: &str) {
    let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
    let rest = match url[..authority].rfind('@') {
        Some(at) => Some(at),
        // A password with an unescaped slash: what looks like a port is not one.
        None if !has_port(&url[..authority]) => url.rfind('@'),
        None => None,
    };
    let url = match rest {
        Some(at) => {
            shown.push_str(HIDDEN);
            &url[at..]
        }
        None => url,
    };
    let query = url.find(['?', '#']).unwrap_or(url.len());
    shown.push_str(&url[..query]);
    for parameter in url[query..].split_inclusive(['?', '&', ';', '#']) {
        match parameter.split_once('=') {
            Some((name, value)) if is_secret(name) => {
                let separator = value.ends_with(['?', '&', ';', '#']);
                let separator = if separator {
                    value.len() - 1
                } else {
                    value.len()
                };
                shown.push_str(&format!("{name}={HIDDEN}{}", &value[separator..]));
            }
            _ => shown.push_str(parameter),
        }
    }
}

/// Whether `authority` is a host with a port, or without one.
fn has_port(authority: &str) -> bool {
    match authority.rsplit_once(':') {
        Some((host, port)) => {
            host.starts_with('[') || port.bytes().all(|byte| byte.is_ascii_digit())
        }
        None => true,
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn user_names_and_passwords_are_hidden() {
        for (text, shown) in [
            ("http://user:word@host/path", "http://***@host/path"),
            (
                "https://token@host:8080/a@b?c#d",
                "https://***@host:8080/a@b?c#d",
            ),
            (
                "socks5h://u:p@127.0.0.1:1080",
                "socks5h://***@127.0.0.1:1080",
            ),
            ("http://u:p@x@[::1]:80/", "http://***@[::1]:80/"),
            ("http://user:sl/ash@host/path", "http://***@host/path"),
            (
                "cannot reach `http://u:p@one/`: refused; tried \"http://v:q@two\", too",
                "cannot reach `http://***@one/`: refused; tried \"http://***@two\", too",
            ),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn secret_parameters_are_hidden_and_others_are_not() {
        for (text, shown) in [
            (
                "https://host/f?name=a&token=b&size=3",
                "https://host/f?name=a&token=***&size=3",
            ),
            (
                "https://host/f?X-Amz-Signature=b;access_key=c#api_token=d",
                "https://host/f?X-Amz-Signature=***;access_key=***#api_token=***",
            ),
            ("https://host/f?token=", "https://host/f?token=***"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn what_has_no_secret_stays() {
        for text in [
            "",
            "sed: failed",
            "mail user@example.org",
            "https://example.org:8443/a@b/c?priority=10",
            "http://[::1]/a@b",
            "mirror://gnu/sed/sed-4.9.tar.xz",
            "file:///var/cache/x@y",
            "://",
        ] {
            assert_eq!(without_secrets(text), text);
        }
    }

    proptest! {
        #[test]
        fn hidden_once_is_hidden(text in "([a-z]{1,4}://[a-z:@/?&=#;]{0,20}[ `\"]?|token|é| ){0,6}") {
            let once = without_secrets(&text).into_owned();
            prop_assert_eq!(without_secrets(&once), once.clone());
        }

        #[test]
        fn a_password_never_stays(word in "[A-Z0-9]{6,12}", user in "[a-z]{1,8}", path in "[a-z/@?&=]{0,12}") {
            let text = format!("cannot reach http://{user}:{word}@host/{path}: refused");
            prop_assert!(!without_secrets(&text).contains(&word));
        }
    }
}
