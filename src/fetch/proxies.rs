// SPDX-License-Identifier: GPL-3.0-or-later
//! The proxies that the environment names.

use std::sync::Once;

use hyper_util::client::proxy::matcher::Matcher;

use crate::formats::secrets::without_secrets;
use crate::formats::visible::visible;

/// The variables that name proxies.
const VARIABLES: [&str; 6] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// What a proxy's URL may begin with. One without a scheme is an HTTP proxy's.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxy that requests for `url` go through, without its secrets; `None` where they go straight to the server.
pub fn proxy_of(url: &str) -> Option<String> {
    let proxy = Matcher::from_env().intercept(&url.parse().ok()?)?;
    let proxy = proxy.uri().to_string();
    Some(visible(without_secrets(&proxy).trim_end_matches('/')))
}

/// Warns, once in a process, of proxies that cannot be used: requests go straight to the servers then.
pub(super) fn warn_of_unusable() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let set = VARIABLES.iter().filter_map(|name| {
            let value = std::env::var_os(name)?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        for (name, problem) in set.filter_map(|(name, value)| Some((name, problem_of(&value)?))) {
            tracing::warn!(
                "`{name}` {problem}; it is ignored. hint: give it as http://HOST:PORT or socks5h://HOST:PORT"
            );
        }
    });
}

/// Why the proxy `value` cannot be used.
fn problem_of(value: &str) -> Option<String> {
    let (scheme, _) = value.trim().split_once("://")?;
    let known = SCHEMES
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    let shown = || visible(without_secrets(value).as_ref());
    (!known).then(|| format!("names the proxy `{}', whose kind is not supported", shown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_of_unknown_kinds_are_named_without_their_passwords() {
        for usable in [
            "",
            "proxy.example:3128",
            "http://proxy.example:3128",
            "HTTPS://proxy.example",
            "socks5h://user:secret@127.0.0.1:1080/",
        ] {
            assert_eq!(problem_of(usable), None, "{usable}");
        }
        let problem = problem_of("quic://user:secret@proxy.example\x1b[1m").unwrap();
        assert!(problem.contains("quic://"), "{problem}");
        assert!(
            !problem.contains("secret") && !problem.contains('\x1b'),
            "{problem}"
        );
    }
}
