// SPDX-License-Identifier: GPL-3.0-or-later
//! The final inputs as a Guile module for Guix: each a `<package>` whose derivation is the bootstrap's own.
//!
//! The module defines a build system that computes nothing: it reads the `.drv` that is in the store already, so that
//! packages built on these inputs refer to the very items that were built here, and Guix finds them valid. Search paths
//! are those of Guix's own gcc and glibc. `%final-inputs` has Guix's names in Guix's order. The packages are hidden: by
//! name, Guix finds its own, for which they stand.
//!
//! Once the module is loaded, Guix takes these packages in place of its own bootstrap's: `take-over.scm`. For a system
//! that Guix does not know, a second module defines it: then Guix's clients, on any system, make derivations for it.

use crate::formats::system::System;

/// An entry of the module's list of inputs.
#[derive(Debug, Clone)]
pub struct GuileInput {
    /// What Guix calls it, such as `libc:static`.
    pub label: String,
    /// The package.
    pub package: String,
    /// The output of the package.
    pub output: String,
}

/// A package of the module.
#[derive(Debug, Clone)]
pub struct GuilePackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is.
    pub synopsis: String,
    /// Where it is from.
    pub home_page: String,
    /// Its licence, in SPDX's spelling.
    pub license: String,
    /// Its outputs, in the recipe's order.
    pub outputs: Vec<String>,
    /// The path of its derivation.
    pub derivation: String,
}

const HEAD: &str = r#"  #:use-module (guix build-system)
  #:use-module (guix build-system trivial)
  #:use-module (guix derivations)
  #:use-module (guix gexp)
  #:use-module (guix monads)
  #:use-module (guix packages)
  #:use-module (guix profiles)
  #:use-module (guix search-paths)
  #:use-module (guix store)
  #:use-module (guix utils)
  #:use-module (ice-9 match)
  #:use-module (srfi srfi-1)
  #:use-module (srfi srfi-26)
  #:export (%final-inputs))

;; Builds nothing: a package's derivation is the one in FILE.
(define bootstrap-build-system
  (build-system
    (name 'bootstrap)
    (description "Take a derivation that is in the store")
    (lower (lambda* (name #:key system file (outputs '("out"))
                          #:allow-other-keys)
             (bag
               (name name)
               (system system)
               (outputs outputs)
               (build (lambda* (name inputs #:key file #:allow-other-keys)
                        (with-monad %store-monad
                          (return (read-derivation-from-file file)))))
               (arguments (list #:file file)))))))
"#;

const GCC_PATHS: &str = r#"
    (native-search-paths
     (list (search-path-specification
            (variable "C_INCLUDE_PATH")
            (files '("include")))
           (search-path-specification
            (variable "CPLUS_INCLUDE_PATH")
            (files '("include/c++" "include")))
           (search-path-specification
            (variable "OBJC_INCLUDE_PATH")
            (files '("include")))
           (search-path-specification
            (variable "OBJCPLUS_INCLUDE_PATH")
            (files '("include/c++" "include")))
           (search-path-specification
            (variable "LIBRARY_PATH")
            (files '("lib" "lib64")))))"#;

/// Written out, where Guix has names for some by now: so that its older versions read them, too.
const LIBC_PATHS: &str = r#"
    (native-search-paths
     (list (search-path-specification
            (variable "GUIX_LOCPATH")
            (files '("lib/locale")))
           (search-path-specification
            (variable "PATH_LOCALE")
            (files '("share/locale"))
            (separator #f))
           (search-path-specification
            (variable "TZDIR")
            (files '("share/zoneinfo"))
            (separator #f))))"#;

/// What makes Guix use the module's packages.
const TAKE_OVER: &str = include_str!("guile/take-over.scm");

/// The module by which Guix knows `system`, and its file, seen from the directory with the module `name`: none for a
/// system that Guix has a platform of.
pub fn platform_module(name: &str, system: System) -> Option<(&'static str, String)> {
    match system {
        System::X86_64Linux => None,
        System::X86_64Freebsd => Some((
            "guix/platforms/x86_64-freebsd.scm",
            include_str!("guile/x86_64-freebsd.scm").replace("(bootstrap-inputs)", name),
        )),
    }
}

/// The module `name`, such as `(bootstrap-inputs)`, with `packages` and the list of `inputs`, for builds on `system`.
pub fn module(
    name: &str,
    system: System,
    packages: &[GuilePackage],
    inputs: &[GuileInput],
) -> String {
    let mut text = format!(
        ";; Written by `bootstrap export --guix'; the derivations it names are in the store it was written for.\n\
         (define-module {name}\n{HEAD}"
    );
    for package in packages {
        let outputs: Vec<String> = package
            .outputs
            .iter()
            .map(|output| quoted(output))
            .collect();
        let paths = match package.name.as_str() {
            "gcc" => GCC_PATHS,
            "libc" => LIBC_PATHS,
            _ => "",
        };
        text.push_str(&format!(
            "\n(define-public bootstrap-{}\n  (package\n    (name {})\n    (version {})\n    (source #f)\n    (outputs '({}))\n    \
             (build-system bootstrap-build-system)\n    (arguments\n     (list #:file {}))\
             {paths}\n    (properties '((hidden? . #t)))\n    (supported-systems (list {}))\n    (home-page {})\n    (synopsis {})\n    (description {})\n    ;; {}\n    (license #f)))\n",
            package.name,
            quoted(&package.name),
            quoted(&package.version),
            outputs.join(" "),
            quoted(&package.derivation),
            quoted(system.name()),
            quoted(&package.home_page),
            quoted(&package.synopsis),
            quoted(&package.synopsis),
            package.license.replace('\n', " "),
        ));
    }
    text.push_str("\n(define %final-inputs\n  ;; The implicit inputs of 'gnu-build-system', with Guix's names and in its order.\n  `(");
    let entries: Vec<String> = inputs
        .iter()
        .map(|input| {
            let variable = format!("bootstrap-{}", input.package);
            match input.output.as_str() {
                "out" => format!("({} ,{variable})", quoted(&input.label)),
                output => format!("({} ,{variable} {})", quoted(&input.label), quoted(output)),
            }
        })
        .collect();
    text.push_str(&entries.join("\n    "));
    text.push_str("))\n\n(define %packages\n  `(");
    let entries: Vec<String> = packages
        .iter()
        .map(|package| format!("({} . ,bootstrap-{})", quoted(&package.name), package.name))
        .collect();
    text.push_str(&entries.join("\n    "));
    text.push_str(&format!(
        "))\n\n(define %system {})\n",
        quoted(system.name())
    ));
    text.push_str(TAKE_OVER);
    text
}

/// `text` as a string of Scheme.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::road::plan::road::final_inputs;

    fn package(name: &str) -> GuilePackage {
        GuilePackage {
            name: name.into(),
            version: "1.0".into(),
            synopsis: "The \"best\" \\ one".into(),
            home_page: "https://example.org/".into(),
            license: "GPL-3.0-or-later".into(),
            outputs: vec!["out".into(), "lib".into()],
            derivation: "/gnu/store/x.drv".into(),
        }
    }

    /// Whether parentheses and strings are balanced, comments left out.
    fn balanced(text: &str) -> bool {
        let (mut depth, mut in_string, mut escaped, mut comment) = (0i32, false, false, false);
        for character in text.chars() {
            match character {
                '\n' => comment = false,
                _ if comment => {}
                _ if escaped => escaped = false,
                '\\' if in_string => escaped = true,
                '"' => in_string = !in_string,
                _ if in_string => {}
                ';' => comment = true,
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
        }
        depth == 0 && !in_string
    }

    #[test]
    fn the_list_has_guixs_names_and_order() {
        let packages = [package("gcc"), package("libc"), package("sed")];
        let inputs = final_inputs().into_iter().map(|input| GuileInput {
            label: input.to_string(),
            package: input.address.name,
            output: input.output,
        });
        let text = module(
            "(bootstrap test)",
            System::X86_64Linux,
            &packages,
            &inputs.collect::<Vec<_>>(),
        );
        assert!(balanced(&text), "{text}");
        assert!(
            text.contains("  `((\"tar\" ,bootstrap-tar)\n    (\"gzip\" ,bootstrap-gzip)\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "(\"libc\" ,bootstrap-libc)\n    (\"libc:static\" ,bootstrap-libc \"static\")))\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("(synopsis \"The \\\"best\\\" \\\\ one\")"),
            "{text}"
        );
        assert_eq!(text.matches("native-search-paths").count(), 2);
    }
}
