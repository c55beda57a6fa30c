// SPDX-License-Identifier: GPL-3.0-or-later
//! The environment of a build, as guix-daemon makes it (`initEnv` of its `build.cc`).

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;

use bstr::BString;

use super::variation::Variation;
use crate::formats::derivation::{Derivation, Environment};
use crate::formats::store_path::{StoreDir, StorePath};

/// The directory a build sees itself start in. guix-daemon's name for it too, and always number 0: the path ends up in
/// debugging information and must not tell one build from another.
pub fn build_directory(derivation: &StorePath) -> String {
    format!("/tmp/guix-build-{}-0", derivation.name())
}

/// Whether the build of `derivation` counts on `MAKEFLAGS` to say how many jobs `make` runs: one by this program's
/// phases.
///
/// Others get none, as with guix-daemon. Of Guix's packages, those whose makefiles do not bear several jobs call `make`
/// without `-j`, and `MAKEFLAGS` would give them several all the same.
pub fn shares_jobs(derivation: &Derivation) -> bool {
    derivation.environment.get("phasesDirectory").is_some()
}

/// All variables of the build of `derivation`, which is at `path`.
///
/// The derivation's own come over `HOME`, `PATH`, `NIX_STORE`, `NIX_BUILD_CORES` and `MAKEFLAGS`, which only those get
/// that share jobs; those that name the build directory come over the derivation's. A fixed output gets those that its
/// `impureEnvVars` names (`http_proxy`) from this process, over all others. `cores` is 0 where Guix's builders are to
/// take all cores.
pub fn environment(
    store_dir: &StoreDir,
    path: &StorePath,
    derivation: &Derivation,
    cores: usize,
    make_flags: Option<String>,
    variation: &Variation,
) -> BTreeMap<BString, BString> {
    let mut environment = Environment::from([
        ("HOME".to_owned(), "/homeless-shelter".to_owned()),
        ("PATH".to_owned(), "/path-not-set".to_owned()),
        ("NIX_STORE".to_owned(), store_dir.as_str().to_owned()),
        ("NIX_BUILD_CORES".to_owned(), cores.to_string()),
    ]);
    if let Some(flags) = make_flags {
        environment.insert("MAKEFLAGS", flags);
    }
    environment.extend(variation.environment());
    let own = derivation.environment.iter();
    environment.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    let directory = build_directory(path);
    for name in ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"] {
        environment.insert(name, directory.as_str());
    }
    if derivation.fixed_output().is_some() {
        let names = derivation.environment.text("impureEnvVars");
        for name in names.unwrap_or_default().split_ascii_whitespace() {
            // As in guix-daemon, one that is not set is empty.
            let value = std::env::var_os(name).unwrap_or_default();
            environment.insert(name, value.into_vec());
        }
    }
    environment.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_gets_guix_daemons_variables_and_its_own() {
        let mut derivation = Derivation::default();
        for (name, value) in [
            ("PATH", "/gnu/store/x/bin"),
            ("TMPDIR", "/elsewhere"),
            ("out", "/gnu/store/y"),
        ] {
            derivation.environment.insert(name, value);
        }
        let path =
            StorePath::from_base_name("ik7ca0lvb90mqs5ni81jy2fvx0gmxfpf-hello-1.0.drv").unwrap();
        let environment = environment(
            &StoreDir::new("/gnu/store").unwrap(),
            &path,
            &derivation,
            3,
            Some(" -j3".to_owned()),
            &Variation::default(),
        );
        let directory = "/tmp/guix-build-hello-1.0.drv-0";
        let expected = [
            ("HOME", "/homeless-shelter"),
            ("MAKEFLAGS", " -j3"),
            ("NIX_BUILD_CORES", "3"),
            ("NIX_BUILD_TOP", directory),
            ("NIX_STORE", "/gnu/store"),
            ("PATH", "/gnu/store/x/bin"),
            ("PWD", directory),
            ("TEMP", directory),
            ("TEMPDIR", directory),
            ("TMP", directory),
            ("TMPDIR", directory),
            ("out", "/gnu/store/y"),
        ];
        let expected = Environment::from(expected);
        assert_eq!(environment, *expected);
    }

    #[test]
    fn only_builds_by_our_phases_share_jobs() {
        let mut derivation = Derivation::default();
        assert!(!shares_jobs(&derivation));
        derivation
            .environment
            .insert("phasesDirectory", "/gnu/store/x");
        assert!(shares_jobs(&derivation));
    }
}
