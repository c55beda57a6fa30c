// SPDX-License-Identifier: GPL-3.0-or-later
//! What becomes of good items beside bad ones, and of items without a trusted signature.

use std::collections::BTreeSet;
use std::fs;

use bootstrap::events::cancellation::Cancellation;
use bootstrap::exchange::publish::publish;
use bootstrap::exchange::substitute::Server;

use crate::place::{Place, unobserved};
use crate::substituter;

#[test]
fn a_bad_narinfo_does_not_hide_what_else_a_server_has() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let directory = place.path("published");
    let wanted = [program.clone()].into();
    publish(&place.store, &wanted, Some(&secret), &directory).unwrap();
    let narinfo = directory.join(format!("{}.narinfo", library.hash_part()));
    let good = fs::read_to_string(&narinfo).unwrap();
    let server = Server::new(&format!("file://{}", directory.display())).unwrap();
    let paths = [library, program.clone()];
    for (bad, message) in [
        ("<html>log in</html>\n".to_owned(), "not a narinfo"),
        (
            good.replace("NarSize: ", "NarSize: 1"),
            "altered after signing",
        ),
    ] {
        fs::write(&narinfo, bad).unwrap();
        let keys = std::slice::from_ref(&public);
        let said = server.describe(&place.store, &paths, keys, &Cancellation::new());
        let described: Vec<_> = said.infos.iter().map(|info| &info.path).collect();
        assert_eq!(described, [&program]);
        let problem = said.problem.unwrap().to_string();
        assert!(problem.contains(message), "{problem}");
        // Who named the directory need not be allowed to read what is in it.
        assert!(!problem.contains("log in"), "{problem}");
    }
}

#[test]
fn where_that_is_wanted_an_untrusted_item_counts_as_missing_and_the_server_is_named() {
    let (place, library, program) = Place::with_items();
    let (secret, public) = place.key();
    let (stranger, _) = Place::new().key();
    let keys = std::slice::from_ref(&public);
    let publish = |key, directory: &str| {
        let directory = place.path(directory);
        publish(&place.store, &[program.clone()].into(), key, &directory).unwrap();
        let narinfo = directory.join(format!("{}.narinfo", program.hash_part()));
        (format!("file://{}", directory.display()), narinfo)
    };
    let (unsigned, _) = publish(None, "unsigned");
    let (strange, _) = publish(Some(&stranger), "strange");
    let (altered, narinfo) = publish(Some(&secret), "altered");
    let text = fs::read_to_string(&narinfo).unwrap();
    fs::write(&narinfo, text.replace("NarSize: ", "NarSize: 1")).unwrap();
    let sets = [&program, &library].map(|path| BTreeSet::from([path.clone()]));
    for (url, message) in [
        (unsigned, "has no signature by a key that is trusted"),
        (strange, "has no signature by a key that is trusted"),
        (altered, "altered after signing"),
    ] {
        let other = Place::new();
        let servers = substituter(&[&url], keys).skip_untrusted(true);
        let offers = servers.offers(&other.store, &sets[..1], &Cancellation::new());
        assert_eq!(offers.unwrap(), [None]);
        let installed = servers.install(&other.store, &sets, &unobserved());
        assert_eq!(installed.unwrap()[0], None);
        let problems = servers.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].1.contains(message), "{problems:?}");
        let strict = substituter(&[&url], keys);
        let error = strict.install(&other.store, &sets, &unobserved());
        assert!(error.unwrap_err().is_mistrust(), "{url}");
    }
}
