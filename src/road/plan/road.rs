// SPDX-License-Identifier: GPL-3.0-or-later
//! The order of the bootstrap: which inputs a build has without its recipe naming them.
//!
//! The lists are names and not whatever recipes there are: so another recipe, even one for stage0, changes the
//! path of nothing that does not name it.

use crate::road::recipe::{Address, InputName, Stage};

/// The packages of stage0, in the order of the bootstrap.
pub const STAGE0: &[&str] = &[
    "make",
    "bash",
    "coreutils",
    "sed",
    "grep",
    "gawk",
    "tar",
    "gzip",
    "bzip2",
    "xz",
    "patch",
    "findutils",
    "diffutils",
    "patchelf",
    "binutils",
    "gcc",
];

/// The packages of Guix's `%final-inputs`, in its order; `libc:static` goes with them.
pub const FINAL: &[&str] = &[
    "tar",
    "gzip",
    "bzip2",
    "file",
    "diffutils",
    "patch",
    "findutils",
    "gawk",
    "zstd",
    "sed",
    "grep",
    "xz",
    "coreutils",
    "make",
    "bash",
    "ld-wrapper",
    "binutils",
    "gcc",
    "libc",
];

/// The packages that prove the final inputs.
pub const PROOF: &[&str] = &["hello", "which"];

/// The twenty implicit inputs of `gnu-build-system`, in Guix's order.
pub fn final_inputs() -> Vec<InputName> {
    let mut inputs: Vec<InputName> = FINAL.iter().map(|name| after_stage0(name)).collect();
    inputs.push(libc_static());
    inputs
}

/// What `bootstrap all` builds.
pub fn everything() -> Vec<InputName> {
    let mut all = final_inputs();
    all.extend(PROOF.iter().map(|name| after_stage0(name)));
    all
}

/// The inputs that every build of `stage` has, in the order in which they are searched.
pub fn implicit_inputs(stage: Stage, name: &str) -> Vec<InputName> {
    match stage {
        Stage::Stage0 => match name {
            "make" => Vec::new(),
            // Not the others: they are built beside it, in the stretches where it keeps one core busy.
            "gcc" => vec![
                stage0("make"),
                stage0("binutils"),
                after_stage0("libc"),
                libc_static(),
            ],
            _ => vec![stage0("make")],
        },
        Stage::Libc => Vec::new(),
        Stage::Final => {
            let mut inputs = match name {
                "binutils" | "gcc" => vec![stage0("gcc"), stage0("binutils")],
                "ld-wrapper" | "bash" => vec![after_stage0("gcc"), after_stage0("binutils")],
                _ => ["bash", "ld-wrapper", "gcc", "binutils"]
                    .map(after_stage0)
                    .into(),
            };
            inputs.push(after_stage0("libc"));
            let tools = STAGE0
                .iter()
                .filter(|tool| !["gcc", "binutils"].contains(tool));
            inputs.extend(tools.map(|tool| stage0(tool)));
            inputs
        }
        Stage::Package => final_inputs(),
    }
}

/// The package whose shell runs the build of `stage`; `None` is the seed's.
pub fn shell(stage: Stage) -> Option<InputName> {
    match stage {
        Stage::Stage0 | Stage::Libc => None,
        Stage::Final => Some(stage0("bash")),
        Stage::Package => Some(after_stage0("bash")),
    }
}

/// Whether the seed is the root of `stage`'s sandboxes.
pub fn in_seed(stage: Stage) -> bool {
    matches!(stage, Stage::Stage0 | Stage::Libc)
}

/// Where a build comes in listings: in the order of the bootstrap, then by name.
pub fn rank(stage: Stage, name: &str) -> (Stage, usize) {
    let names = match stage {
        Stage::Stage0 => STAGE0,
        Stage::Libc => &[],
        Stage::Final => FINAL,
        Stage::Package => PROOF,
    };
    let place = names.iter().position(|known| *known == name);
    (stage, place.unwrap_or(names.len()))
}

fn stage0(name: &str) -> InputName {
    InputName::out(Address::stage0(name))
}

fn after_stage0(name: &str) -> InputName {
    InputName::out(Address::after_stage0(name))
}

fn libc_static() -> InputName {
    InputName {
        output: "static".to_owned(),
        ..after_stage0("libc")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &[InputName]) -> String {
        let names: Vec<String> = inputs.iter().map(InputName::to_string).collect();
        names.join(" ")
    }

    #[test]
    fn there_are_twenty_final_inputs_and_two_proofs() {
        assert_eq!(final_inputs().len(), 20);
        assert_eq!(everything().len(), 22);
        assert_eq!(names(&everything()[18..]), "libc libc:static hello which");
    }

    #[test]
    fn stage0_starts_from_the_seed_alone() {
        assert_eq!(names(&implicit_inputs(Stage::Stage0, "make")), "");
        assert_eq!(names(&implicit_inputs(Stage::Stage0, "sed")), "stage0/make");
        assert_eq!(names(&implicit_inputs(Stage::Libc, "libc")), "");
        assert_eq!(shell(Stage::Stage0), None);
    }

    #[test]
    fn gcc_of_stage0_waits_for_no_more_than_it_needs() {
        assert_eq!(
            names(&implicit_inputs(Stage::Stage0, "gcc")),
            "stage0/make stage0/binutils libc libc:static"
        );
    }

    #[test]
    fn final_compilers_come_from_stage0_and_build_the_rest() {
        let tools = "stage0/make stage0/bash stage0/coreutils stage0/sed stage0/grep stage0/gawk stage0/tar \
                     stage0/gzip stage0/bzip2 stage0/xz stage0/patch stage0/findutils stage0/diffutils \
                     stage0/patchelf";
        let inputs = |name| names(&implicit_inputs(Stage::Final, name));
        assert_eq!(
            inputs("gcc"),
            format!("stage0/gcc stage0/binutils libc {tools}")
        );
        assert_eq!(inputs("bash"), format!("gcc binutils libc {tools}"));
        assert_eq!(
            inputs("sed"),
            format!("bash ld-wrapper gcc binutils libc {tools}")
        );
    }

    #[test]
    fn a_package_has_the_final_inputs_and_nothing_else() {
        assert_eq!(implicit_inputs(Stage::Package, "hello"), final_inputs());
    }
}
