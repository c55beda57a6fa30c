// SPDX-License-Identifier: GPL-3.0-or-later
//! No bytes of a client make the reader of the worker protocol panic, or take memory that was not sent.
#![no_main]

use bootstrap::formats::store_path::StoreDir;
use bootstrap::formats::worker::{VERSION, WireReader, WorkerRequest, read_greeting, read_magic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(store_dir) = StoreDir::new("/gnu/store") else {
        return;
    };
    let mut reader = WireReader::new(bytes);
    // With a greeting or without one: both reach the requests.
    let version = match read_magic(&mut reader).and_then(|()| read_greeting(&mut reader)) {
        Ok(greeting) => greeting.version,
        Err(_) => {
            reader = WireReader::new(bytes);
            VERSION
        }
    };
    while let Ok(Some(_)) = WorkerRequest::read(&mut reader, &store_dir, version) {}
});
