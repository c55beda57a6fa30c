// SPDX-License-Identifier: GPL-3.0-or-later
//! What becomes of good items beside bad ones, and of items without a trusted signature.

use std::fs;

use bootstrap::events::cancellation::Cancellation;
use bootstrap::exchange::publish::publish;
use bootstrap::exchange::substitute::Server;

use crate::place::Place;

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
    }
}
