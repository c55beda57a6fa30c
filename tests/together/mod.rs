// SPDX-License-Identifier: GPL-3.0-or-later
//! Downloads that run at the same time, as the scheduler starts them.

use bootstrap::fetch::{Downloader, FetchError, FetchRequest, FetchedFile, Fetcher};

/// Fetches each of `requests` on a thread of its own; the results are in their order.
pub fn fetch_all(
    downloader: &Downloader,
    requests: &[FetchRequest],
) -> Vec<Result<FetchedFile, FetchError>> {
    std::thread::scope(|scope| {
        let start = |request| scope.spawn(move || downloader.fetch(request, &|_| {}));
        let threads: Vec<_> = requests.iter().map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}
