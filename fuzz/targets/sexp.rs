// SPDX-License-Identifier: GPL-3.0-or-later
//! No bytes make the S-expression reader panic, and what it writes it reads back.
#![no_main]

use bootstrap::formats::keys::sexp::Sexp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(expression) = Sexp::parse(bytes) {
        let text = expression.to_string();
        assert_eq!(Sexp::parse(text.as_bytes()), Some(expression));
    }
});
