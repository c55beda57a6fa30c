// SPDX-License-Identifier: GPL-3.0-or-later
//! How long reading the recipes and planning the whole road take: the mark is 10 ms.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bootstrap::archive::Format;
use bootstrap::fetch::Location;
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::store_path::StoreDir;
use bootstrap::formats::system::System;
use bootstrap::road::plan::{self, PlanSettings};
use bootstrap::road::recipe::{self, RecipeSource};
use bootstrap::road::seed::{Seed, SeedArchive};

const MARK: Duration = Duration::from_millis(10);

/// A seed with as many archives as Debian's has packages.
fn seed(name: &str) -> Seed {
    let archive = |number: usize| SeedArchive {
        name: format!("{name}-package-{number}_1.0-1_amd64.deb"),
        sha256: Sha256Digest::of(format!("{name}{number}")),
        size: Some(1 << 20),
        locations: vec![Location::DebianBinary {
            package: format!("package-{number}"),
            version: "1.0-1".to_owned(),
            architecture: "amd64".to_owned(),
        }],
    };
    Seed {
        name: name.to_owned(),
        system: "x86_64-linux".to_owned(),
        preferred_variant: "debian".to_owned(),
        shell: "/bin/sh".to_owned(),
        search_path: Vec::new(),
        format: Format::Deb,
        archives: (0..120).map(archive).collect(),
        links: BTreeMap::new(),
        files: BTreeMap::new(),
        distribution: None,
        release: None,
        impure: None,
    }
}

/// The median of several runs.
fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..51)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn show(what: &str, time: Duration) {
    let ratio = time.as_secs_f64() / MARK.as_secs_f64();
    println!(
        "{what:<20} {:>8.3} ms  {ratio:>6.3} of the mark of {} ms",
        time.as_secs_f64() * 1e3,
        MARK.as_millis()
    );
}

fn main() {
    let settings = PlanSettings {
        system: System::X86_64Linux,
        store_dir: StoreDir::new("/gnu/store").unwrap(),
    };
    let root = seed("debian-13-amd64");
    let larger = "debian-13-amd64-autotools";
    let roots = BTreeMap::from([(larger.to_owned(), seed(larger))]);
    let recipes = recipe::load(&RecipeSource::Embedded).expect("the recipes are right");
    let nodes = plan::plan(&recipes, &root, &roots, &settings)
        .expect("they make a plan")
        .nodes()
        .len();
    println!("{nodes} derivations");
    let reading = median(|| {
        black_box(recipe::load(&RecipeSource::Embedded).unwrap());
    });
    let planning = median(|| {
        black_box(plan::plan(&recipes, &root, &roots, &settings).unwrap());
    });
    show("reading recipes", reading);
    show("planning", planning);
    show("both", reading + planning);
}
