// SPDX-License-Identifier: GPL-3.0-or-later
//! Giving store items away and taking them, with Nix on the other side: it reads and writes the same exports and
//! substitute servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use bootstrap::exchange::ExchangeError;
use bootstrap::exchange::stream::{Trust, import};
use bootstrap::exchange::substitute::{Server, Substituter};
use bootstrap::fetch::http::RetryPolicy;
use bootstrap::formats::keys::PublicKey;
use bootstrap::formats::store_path::StorePath;
use bootstrap::store::StagedOutput;

mod exports;
mod hostile;
mod many;
#[path = "../oracle/mod.rs"]
mod oracle;
#[path = "../place/mod.rs"]
mod place;
#[path = "../server/mod.rs"]
mod server;
mod servers;
mod signatures;
mod substitutes;
mod untrusted;

use place::{Place, unobserved};
use server::{serve, serve_answers, serve_with};

impl Place {
    fn add(&self, letter: &str, name: &str, references: &[&StorePath]) -> StorePath {
        let path = StorePath::from_base_name(&format!("{}-{name}", letter.repeat(32))).unwrap();
        let staged = self
            .store
            .directories()
            .store
            .join(format!("staged-{name}"));
        fs::create_dir(&staged).unwrap();
        let texts: Vec<String> = references.iter().map(|path| full(path)).collect();
        fs::write(staged.join("refers to"), texts.join("\n")).unwrap();
        fs::write(staged.join(")"), name.repeat(100_000)).unwrap();
        std::os::unix::fs::symlink("refers to", staged.join("link")).unwrap();
        let output = StagedOutput {
            staged,
            path,
            candidates: references.iter().map(|path| (*path).clone()).collect(),
            deriver: None,
        };
        self.register(output)
    }

    /// A library, and a program that uses it.
    fn with_items() -> (Self, StorePath, StorePath) {
        let place = Self::new();
        let library = place.add("a", "library", &[]);
        let program = place.add("b", "program", &[&library]);
        (place, library, program)
    }

    fn import(&self, bytes: &[u8], trust: Trust<'_>) -> Result<Vec<StorePath>, ExchangeError> {
        let mut bytes = bytes;
        import(
            &self.store,
            &mut bytes,
            trust,
            &self.path("scratch"),
            "the test",
        )
    }

    fn install(
        &self,
        url: &str,
        path: &StorePath,
        keys: &[PublicKey],
    ) -> Result<Option<usize>, ExchangeError> {
        let wanted = [BTreeSet::from([path.clone()])];
        let unobserved = unobserved();
        let mut installed = substituter(&[url], keys).install(&self.store, &wanted, &unobserved)?;
        assert_eq!(installed.len(), 1);
        Ok(installed.remove(0).map(|installed| installed.paths.len()))
    }

    /// Whether nothing is left of what was not finished.
    fn is_tidy(&self) -> bool {
        let names = oracle::names_in(&self.store.directories().store);
        names.iter().all(|name| !name.ends_with(".chroot"))
    }
}

/// Takes from the servers at `urls`, without further tries.
fn substituter(urls: &[&str], keys: &[PublicKey]) -> Substituter {
    substituter_with(urls, keys, &[])
}

/// As [`substituter`], with further tries after so many milliseconds each.
fn substituter_with(urls: &[&str], keys: &[PublicKey], pauses: &[u64]) -> Substituter {
    let retry_policy = RetryPolicy {
        pauses: pauses.iter().copied().map(Duration::from_millis).collect(),
        ..RetryPolicy::default()
    };
    let servers = urls
        .iter()
        .map(|url| Server::with_retry_policy(url, retry_policy.clone()));
    Substituter::new(servers.map(Result::unwrap).collect(), keys.to_vec())
}

fn full(path: &StorePath) -> String {
    oracle::store_dir().display(path)
}

/// Takes what is not signed, too, and trusts no key.
const UNSIGNED: Trust<'static> = Trust {
    keys: &[],
    unsigned: true,
};

/// Takes what one of `keys` has signed.
fn trusting(keys: &[PublicKey]) -> Trust<'_> {
    Trust {
        keys,
        unsigned: false,
    }
}
