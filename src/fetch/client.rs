// SPDX-License-Identifier: GPL-3.0-or-later
//! The HTTP client of every transfer: which authorities it trusts, which proxy it uses, and which redirections it
//! follows.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::Url;
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Action, Attempt as Redirect, Policy};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};

use super::proxies::{self, proxy_of};
use crate::formats::secrets::without_secrets;
use crate::formats::visible::visible;

/// The most redirections followed: mirror redirectors need two or three.
const REDIRECTIONS: usize = 8;

/// A client's settings, for its callers to complete.
///
/// Authorities are the system's, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name; where there are none, as in a
/// container without `ca-certificates`, Mozilla's, which are part of this program. Proxies are those of `http_proxy`,
/// `https_proxy` and `all_proxy`, except for what `no_proxy` lists; `socks5:` and `socks5h:` are known, too.
pub fn builder() -> ClientBuilder {
    builder_for(&Hosts::default())
}

/// As [`builder`], with `hosts` for what the client's requests lead to.
pub fn builder_for(hosts: &Hosts) -> ClientBuilder {
    // Fails where the program has installed one already, which is as good.
    let _ = default_provider().install_default();
    proxies::warn_of_unusable();
    let (hosts, redirects) = (hosts.clone(), hosts.clone());
    let builder = Client::builder()
        .user_agent(concat!("bootstrap/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(hosts))
        .redirect(Policy::custom(move |redirect| redirects.follow(redirect)));
    match tls() {
        Some(tls) => builder.tls_backend_preconfigured(tls),
        None => builder,
    }
}

/// `None` where TLS cannot be configured; reqwest then reports why.
fn tls() -> Option<ClientConfig> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "certificates of the system");
    }
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::debug!("the system has no certificates of authorities: using Mozilla's");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().ok()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(config)
}

/// An error's innermost cause: the outer ones only say that a request failed.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    visible(without_secrets(&innermost.to_string()).as_ref())
}

/// Why the request for `url` failed. Where no connection came about, that is its proxy's fault, if it has one.
pub fn reason(url: &str, error: &reqwest::Error) -> String {
    let reason = causes(error);
    match proxy_of(url).filter(|_| error.is_connect()) {
        Some(proxy) => format!("the proxy {proxy} cannot be used: {reason}"),
        None => reason,
    }
}

/// What is known of the hosts of a client's requests.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<Mutex<KnownHosts>>);

#[derive(Debug, Default)]
struct KnownHosts {
    /// Hosts that a public server has redirected to: they must be public, too.
    redirected: HashSet<String>,
    /// Whether the hosts that were looked up are public.
    public: HashMap<String, bool>,
}

impl Hosts {
    fn lock(&self) -> MutexGuard<'_, KnownHosts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, redirect: Redirect<'_>) -> Action {
        match self.refuse(redirect.previous(), redirect.url()) {
            Some(reason) => redirect.error(reason),
            None => redirect.follow(),
        }
    }

    /// Why `next`, which the server of the last of `previous` names, is not asked for; `None` where it may be.
    pub fn refuse(&self, previous: &[Url], next: &Url) -> Option<String> {
        refuse_redirection(previous, next).or_else(|| self.refuse_private(previous.last(), next))
    }

    /// Why a redirection from `previous` to `next` would lead out of the internet. Otherwise any server could have this
    /// machine ask for something in its own network.
    fn refuse_private(&self, previous: Option<&Url>, next: &Url) -> Option<String> {
        let previous = previous?;
        let from = previous.host_str()?;
        let is_public = match literal(from) {
            Some(address) => is_public_address(address),
            None => !is_local_name(from) && *self.lock().public.get(from).unwrap_or(&true),
        };
        if !is_public {
            return None;
        }
        let host = next.host_str()?;
        let is_private = match literal(host) {
            Some(address) => !is_public_address(address),
            None => {
                self.lock().redirected.insert(host.to_owned());
                is_local_name(host)
            }
        };
        is_private.then(|| {
            format!(
                "redirected from {} to {}, which is not a public address",
                visible(from),
                visible(host)
            )
        })
    }
}

/// Looks names up, and refuses private addresses of hosts that a public server has redirected to.
impl Resolve for Hosts {
    fn resolve(&self, name: Name) -> Resolving {
        let hosts = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let wanted = host.clone();
            let found = tokio::task::spawn_blocking(move || (wanted.as_str(), 0).to_socket_addrs());
            let mut found: Vec<SocketAddr> = found.await??.collect();
            let all = found.len();
            let mut known = hosts.lock();
            if known.redirected.contains(&host) {
                found.retain(|address| is_public_address(address.ip()));
                if found.is_empty() && all > 0 {
                    return Err("redirected to a name of a private address".into());
                }
            }
            let is_public = found.iter().all(|address| is_public_address(address.ip()));
            known.public.insert(host, is_public);
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Why a redirection is not followed: because they do not end, or because one goes from `https` to `http`. The digest
/// would protect the bytes all the same, but such an answer is a captive portal's, or shows every host on the way what
/// is fetched, and another mirror is next in the list.
fn refuse_redirection(previous: &[Url], next: &Url) -> Option<String> {
    let was_secure = previous.last().is_some_and(|url| url.scheme() == "https");
    if previous.len() > REDIRECTIONS {
        Some(format!("more than {REDIRECTIONS} redirections"))
    } else if was_secure && next.scheme() != "https" {
        let next = visible(without_secrets(next.as_str()).as_ref());
        Some(format!("redirected from https to {next}"))
    } else {
        None
    }
}

/// The address that a host in a URL is spelled as.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// Whether `host` is a name of this machine or its own network (RFC 6761, RFC 6762).
fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    ["localhost", "local", "internal"]
        .iter()
        .any(|name| host == *name || host.ends_with(&format!(".{name}")))
}

/// Whether `address` is one of the internet's: not of this machine, a link, a private network or a group.
pub fn is_public_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_protocol = (first, second, third) == (192, 0, 0);
    let is_benchmark = first == 198 && (18..20).contains(&second);
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || is_shared
        || is_protocol
        || is_benchmark)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to an IPv4 address.
    let inner = match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    };
    let is_low = segments[..6] == [0; 6];
    inner.is_none_or(is_public_v4)
        && !(is_low
            || address.is_multicast()
            || address.is_unique_local()
            || address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_redirection_never_gives_up_encryption() {
        let secure = [url("https://a.example.org/x")];
        let plain = [url("http://a.example.org/x")];
        let refusal = refuse_redirection(&secure, &plain[0]).unwrap();
        assert!(
            refusal.contains("from https to http://a.example.org/x"),
            "{refusal}"
        );
        assert_eq!(refuse_redirection(&plain, &secure[0]), None);
        assert_eq!(refuse_redirection(&plain, &plain[0]), None);
        assert_eq!(refuse_redirection(&secure, &secure[0]), None);
        // Only the last step counts: plain, then secure, then plain is a step down too.
        let mixed = [plain[0].clone(), url("https://b.example.org/x")];
        assert!(refuse_redirection(&mixed, &plain[0]).is_some());
    }

    #[test]
    fn addresses_of_this_machine_and_of_private_networks_are_not_public() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
        ] {
            assert!(!is_public_address(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "172.32.0.1",
            "192.1.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public_address(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_public_server_does_not_lead_to_private_ones() {
        let hosts = Hosts::default();
        let refused = |from: &str, to: &str| hosts.refuse_private(Some(&url(from)), &url(to));
        for to in [
            "http://127.0.0.1/",
            "http://[::1]:80/",
            "http://169.254.169.254/latest/meta-data",
            "http://localhost:8080/",
            "http://a.localhost/",
            "http://printer.local/",
            // Other spellings of 127.0.0.1.
            "http://2130706433/",
            "http://0x7f.1/",
        ] {
            let reason = refused("https://example.org/", to);
            assert!(reason.unwrap().contains("not a public address"), "{to}");
        }
        assert_eq!(
            refused("https://example.org/", "https://example.com/"),
            None
        );
        // It may turn out to be private when it is looked up.
        assert!(hosts.lock().redirected.contains("example.com"));
        // A server of one's own network may.
        hosts
            .lock()
            .public
            .insert("mirror.example".to_owned(), false);
        for from in [
            "http://127.0.0.1/",
            "http://10.0.0.1/",
            "http://mirror.example/",
        ] {
            assert_eq!(refused(from, "http://10.0.0.2/"), None, "{from}");
        }
    }
}
