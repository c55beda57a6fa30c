// SPDX-License-Identifier: GPL-3.0-or-later
//! `--dry-run`: what a run would download, build and reuse, in words.

use serde::Serialize;

use crate::engine;
use crate::events::Kind;
use crate::show::progress::estimate::{BY_RECIPES, Estimator};
use crate::show::progress::size;

/// What would be done, as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct ShownForecast<'p> {
    /// What would be taken from servers instead of being built.
    substitutes: Vec<Substitute<'p>>,
    downloads: Vec<DownloadEntry<'p>>,
    builds: Vec<BuildEntry<'p>>,
    /// Labels of packages that are there already.
    reused: Vec<&'p str>,
    /// How long the whole run would take, in seconds, by what earlier runs took and recipes say; `null` where too
    /// little is known.
    seconds: Option<f64>,
    /// Whether most of that comes from recipes, which were timed on two cores.
    guessed: bool,
    /// Why others cannot make the same, where they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    impure: Option<String>,
}

#[derive(Debug, Serialize)]
struct Substitute<'p> {
    item: &'p str,
    /// The server.
    from: String,
    /// How many store items that is, with what it refers to.
    store_items: usize,
    /// What would be downloaded, in bytes; `null` where the server does not say.
    download_size: Option<u64>,
    /// What it takes in the store, in bytes.
    size: u64,
}

#[derive(Debug, Serialize)]
struct DownloadEntry<'p> {
    item: &'p str,
    /// In bytes, where that is known.
    size: Option<u64>,
    /// Whether it is in the cache: nothing would cross the network.
    cached: bool,
}

#[derive(Debug, Serialize)]
struct BuildEntry<'p> {
    item: &'p str,
    kind: Kind,
    /// What it took when it was last made here, in seconds.
    seconds: Option<f64>,
    /// What it takes by its recipe, in seconds on two cores.
    typical_seconds: Option<f64>,
}

/// `found` as it is shown, with how long it takes by `estimator`, which has observed its plan.
pub fn shown<'p>(found: &'p engine::Forecast, estimator: &Estimator) -> ShownForecast<'p> {
    let substitutes = found.substitutes.iter().map(|offered| Substitute {
        item: &offered.item,
        from: offered.from.clone(),
        store_items: offered.store_items,
        download_size: offered.download_size,
        size: offered.size,
    });
    let downloads = found.downloads.iter().map(|download| DownloadEntry {
        item: &download.item,
        size: download.size,
        cached: download.cached,
    });
    let builds = found.builds.iter().map(|build| BuildEntry {
        item: &build.item,
        kind: build.kind,
        seconds: build.took.map(|took| took.as_secs_f64()),
        typical_seconds: build.typical.map(|typical| typical.as_secs_f64()),
    });
    ShownForecast {
        substitutes: substitutes.collect(),
        downloads: downloads.collect(),
        builds: builds.collect(),
        reused: found.reused.iter().map(String::as_str).collect(),
        seconds: estimator.remaining(0.0).map(|time| time.as_secs_f64()),
        guessed: estimator.is_guess(),
        impure: found.impure.clone(),
    }
}

/// The forecast in words.
pub fn describe(forecast: &ShownForecast<'_>) -> String {
    let mut text = substitutes_described(&forecast.substitutes);
    let fetched: Vec<_> = forecast
        .downloads
        .iter()
        .filter(|file| !file.cached)
        .collect();
    if !forecast.downloads.is_empty() {
        let known: u64 = fetched.iter().filter_map(|file| file.size).sum();
        let unknown = fetched.iter().filter(|file| file.size.is_none()).count();
        text.push_str(&format!(
            "to download: {}",
            size::counted(fetched.len(), "file")
        ));
        if known > 0 {
            text.push_str(&format!(", {}", size::bytes(known)));
        }
        if unknown > 0 {
            text.push_str(&format!(", {unknown} of them of unknown size"));
        }
        let cached = forecast.downloads.len() - fetched.len();
        if cached > 0 {
            text.push_str(&format!("; {cached} more from the cache"));
        }
        text.push('\n');
        for file in fetched {
            let size = file
                .size
                .map_or_else(|| "size unknown".to_owned(), size::bytes);
            text.push_str(&format!("  {}  {size}\n", file.item));
        }
    }
    if !forecast.builds.is_empty() {
        text.push_str(&format!("to build: {}", forecast.builds.len()));
        match forecast.seconds {
            Some(seconds) => {
                let by = if forecast.guessed { BY_RECIPES } else { "" };
                text.push_str(&format!(", in about {}{by}\n", size::seconds(seconds)));
            }
            None => text.push_str("; duration unknown: most of it was never built here\n"),
        }
        let width = forecast.builds.iter().map(|build| build.item.len()).max();
        let width = width.unwrap_or(0);
        for build in &forecast.builds {
            let took = match (build.seconds, build.typical_seconds) {
                (Some(seconds), _) => format!("took {} last time", size::seconds(seconds)),
                (None, Some(typical)) => format!(
                    "never built here; {} on two cores, its recipe says",
                    size::seconds(typical)
                ),
                (None, None) => "never built here".to_owned(),
            };
            text.push_str(&format!("  {:<width$}  {took}\n", build.item));
        }
    }
    if !forecast.reused.is_empty() {
        text.push_str(&format!("there already: {}\n", forecast.reused.join(" ")));
    }
    let made = forecast.downloads.len() + forecast.builds.len();
    if made + forecast.substitutes.len() == 0 {
        text.push_str("nothing to do\n");
    }
    if let Some(impurity) = &forecast.impure {
        text.push_str(&format!("impure: {impurity}\n"));
    }
    text
}

fn substitutes_described(substitutes: &[Substitute<'_>]) -> String {
    if substitutes.is_empty() {
        return String::new();
    }
    let items: usize = substitutes.iter().map(|one| one.store_items).sum();
    let downloaded: Option<u64> = substitutes.iter().map(|one| one.download_size).sum();
    let taken: u64 = substitutes.iter().map(|one| one.size).sum();
    let mut text = format!(
        "to take from servers: {}",
        size::counted(items, "store item")
    );
    if let Some(size) = downloaded {
        text.push_str(&format!(", {} to download", size::bytes(size)));
    }
    text.push_str(&format!(", {} in the store\n", size::bytes(taken)));
    let width = substitutes.iter().map(|one| one.item.len()).max();
    let width = width.unwrap_or(0);
    for one in substitutes {
        let size = one
            .download_size
            .map_or_else(|| "size unknown".to_owned(), size::bytes);
        text.push_str(&format!(
            "  {:<width$}  {size} from {}\n",
            one.item, one.from
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_reads_well() {
        let forecast = ShownForecast {
            substitutes: vec![
                Substitute {
                    item: "binutils",
                    from: "https://example.org".to_owned(),
                    store_items: 3,
                    download_size: Some(10 << 20),
                    size: 40 << 20,
                },
                Substitute {
                    item: "sed",
                    from: "file:///srv".to_owned(),
                    store_items: 1,
                    download_size: Some(1 << 10),
                    size: 1 << 12,
                },
            ],
            downloads: vec![
                DownloadEntry {
                    item: "seed/a.deb",
                    size: Some(3 << 20),
                    cached: false,
                },
                DownloadEntry {
                    item: "source/b.tar.xz",
                    size: None,
                    cached: false,
                },
                DownloadEntry {
                    item: "source/c.tar.xz",
                    size: Some(1),
                    cached: true,
                },
            ],
            builds: vec![
                BuildEntry {
                    item: "gcc",
                    kind: Kind::Build,
                    seconds: Some(1800.0),
                    typical_seconds: Some(1500.0),
                },
                BuildEntry {
                    item: "ld-wrapper",
                    kind: Kind::Build,
                    seconds: None,
                    typical_seconds: None,
                },
                BuildEntry {
                    item: "sed",
                    kind: Kind::Build,
                    seconds: None,
                    typical_seconds: Some(90.0),
                },
            ],
            reused: vec!["libc"],
            seconds: Some(1801.0),
            guessed: false,
            impure: Some("made from the seed `host`, and it is mine".to_owned()),
        };
        assert_eq!(
            describe(&forecast),
            "to take from servers: 4 store items, 10 MiB to download, 40 MiB in the store\n  \
             binutils  10 MiB from https://example.org\n  sed       1.0 KiB from file:///srv\n\
             to download: 2 files, 3.0 MiB, 1 of them of unknown size; 1 more from the cache\n  \
             seed/a.deb  3.0 MiB\n  source/b.tar.xz  size unknown\n\
             to build: 3, in about 30 min 01 s\n  \
             gcc         took 30 min 00 s last time\n  ld-wrapper  never built here\n  \
             sed         never built here; 1 min 30 s on two cores, its recipe says\n\
             there already: libc\nimpure: made from the seed `host`, and it is mine\n"
        );
        let guessed = ShownForecast {
            guessed: true,
            ..forecast
        };
        let text = describe(&guessed);
        assert!(
            text.contains(
                "to build: 3, in about 30 min 01 s, going by recipes timed on two cores\n"
            ),
            "{text}"
        );
        let unknown = ShownForecast {
            substitutes: vec![Substitute {
                item: "sed",
                from: "file:///srv".to_owned(),
                store_items: 1,
                download_size: None,
                size: 1 << 12,
            }],
            downloads: Vec::new(),
            builds: Vec::new(),
            reused: Vec::new(),
            seconds: None,
            guessed: false,
            impure: None,
        };
        assert_eq!(
            describe(&unknown),
            "to take from servers: 1 store item, 4.0 KiB in the store\n  sed  size unknown from file:///srv\n"
        );
        let nothing = ShownForecast {
            substitutes: Vec::new(),
            reused: vec!["sed"],
            ..unknown
        };
        assert_eq!(describe(&nothing), "there already: sed\nnothing to do\n");
    }
}
