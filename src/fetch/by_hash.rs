// SPDX-License-Identifier: GPL-3.0-or-later
//! Servers that have files by their hash, whatever the files are called.
//!
//! Guix's downloads name a file of Scheme code, `content-addressed-mirrors`, whose procedures make a URL of a file
//! name, an algorithm and a hash. The code comes from clients and is never run (CVE-2025-59378). [`templates`]
//! recognises the shapes that Guix has written since 2017 and reads the URLs out of them as data; a shape that it does
//! not know is left out.

use std::collections::BTreeMap;

use super::mirrors::{self, Mirrors};
use crate::formats::base32;
use crate::formats::content_hash::ContentHash;
use crate::formats::scheme::Datum;

/// A piece of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The argument of the enclosing procedure, such as a host.
    Argument,
    FileName,
    Algorithm,
    Base16,
    Base32,
}

/// A server's URLs, with places for a file's name and hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// The servers that are asked for files that no other place has, in this order. The layouts are those of Guix's code.
pub fn usual() -> Vec<Template> {
    let text = |text: &str| Part::Text(text.to_owned());
    let published = |host: &str| {
        Template(vec![
            text(&format!("https://{host}/file/")),
            Part::FileName,
            text("/"),
            Part::Algorithm,
            text("/"),
            Part::Base32,
        ])
    };
    vec![
        Template::below("https://tarballs.nixos.org/"),
        published("ci.guix.gnu.org"),
        published("bordeaux.guix.gnu.org"),
        Template(vec![
            text("https://archive.softwareheritage.org/api/1/content/"),
            Part::Algorithm,
            text(":"),
            Part::Base16,
            text("/raw/"),
        ]),
    ]
}

/// The servers to ask with the user's `mirrors`: those set as `by-hash`, else the usual ones.
pub fn servers(mirrors: &Mirrors) -> Vec<Template> {
    match mirrors.set(mirrors::BY_HASH) {
        Some(prefixes) => prefixes
            .iter()
            .map(|prefix| Template::below(prefix))
            .collect(),
        None => usual(),
    }
}

impl Template {
    /// Files under `prefix` as ALGORITHM/HEX, the layout of tarballs.nixos.org.
    fn below(prefix: &str) -> Self {
        Self(vec![
            Part::Text(prefix.to_owned()),
            Part::Algorithm,
            Part::Text("/".to_owned()),
            Part::Base16,
        ])
    }

    /// The URL of the file called `name` with the hash `hash`.
    pub fn url(&self, name: &str, hash: &ContentHash) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            // Templates that are complete have none.
            Part::Argument => String::new(),
            Part::FileName => name.to_owned(),
            Part::Algorithm => hash.algorithm().name().to_owned(),
            Part::Base16 => hash.to_base16(),
            Part::Base32 => base32::encode(hash.bytes()),
        });
        parts.collect()
    }
}

/// The servers that `code` lists, the contents of a `content-addressed-mirrors` file; those in a shape that is not
/// known are missing.
pub fn templates(code: &str) -> Vec<Template> {
    let Ok((code, _)) = Datum::parse_first(code) else {
        return Vec::new();
    };
    let forms = match code.form("begin") {
        Some(forms) => forms.to_vec(),
        None => vec![code],
    };
    let mut procedures = BTreeMap::new();
    for form in &forms {
        if let Some((name, template)) = definition(form) {
            procedures.insert(name, template);
        }
    }
    let Some(servers) = forms.last().and_then(|form| form.form("list")) else {
        return Vec::new();
    };
    let servers = servers.iter().filter_map(|server| {
        let template = match server.list()? {
            [procedure, argument] if procedure.symbol() != Some("lambda") => {
                let template = procedures.get(procedure.symbol()?)?;
                fill(template, argument.string()?)
            }
            _ => lambda(server, None)?,
        };
        is_web(&template).then_some(template)
    });
    servers.collect()
}

/// `(define (NAME PARAMETER) (lambda …))`.
fn definition(form: &Datum) -> Option<(String, Template)> {
    let [head, body] = form.form("define")? else {
        return None;
    };
    let [name, parameter] = head.list()? else {
        return None;
    };
    let template = lambda(body, Some(parameter.symbol()?))?;
    Some((name.symbol()?.to_owned(), template))
}

/// `(lambda (FILE ALGORITHM HASH) (string-append …))`.
fn lambda(form: &Datum, argument: Option<&str>) -> Option<Template> {
    let [parameters, body] = form.form("lambda")? else {
        return None;
    };
    let [file, algorithm, hash] = parameters.list()? else {
        return None;
    };
    let (file, algorithm, hash) = (file.symbol()?, algorithm.symbol()?, hash.symbol()?);
    let part = |datum: &Datum| match datum {
        Datum::String(text) => Some(Part::Text(text.clone())),
        Datum::Symbol(name) if name == file => Some(Part::FileName),
        Datum::Symbol(name) if Some(name.as_str()) == argument => Some(Part::Argument),
        Datum::List(call) => match call.as_slice() {
            [procedure, value] => match (procedure.symbol()?, value.symbol()?) {
                ("symbol->string", name) if name == algorithm => Some(Part::Algorithm),
                ("bytevector->base16-string", name) if name == hash => Some(Part::Base16),
                ("bytevector->nix-base32-string", name) if name == hash => Some(Part::Base32),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let parts = body.form("string-append")?.iter().map(part);
    parts.collect::<Option<Vec<_>>>().map(Template)
}

/// `template` with `argument` in its places.
fn fill(template: &Template, argument: &str) -> Template {
    let parts = template.0.iter().map(|part| match part {
        Part::Argument => Part::Text(argument.to_owned()),
        part => part.clone(),
    });
    Template(parts.collect())
}

/// Whether the URLs of `template` are of the web: the text at its start says so.
fn is_web(template: &Template) -> bool {
    matches!(
        template.0.first(),
        Some(Part::Text(text)) if text.starts_with("https://") || text.starts_with("http://")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::content_hash::HashAlgorithm;

    /// The shape of Guix 1.5's file.
    const GUIX: &str = "(begin (use-modules (guix base16) (guix base32)) \
        (define (guix-publish host) (lambda (file algo hash) (string-append \"https://\" host \"/file/\" file \"/\" \
        (symbol->string algo) \"/\" (bytevector->nix-base32-string hash)))) \
        (list (guix-publish \"bordeaux.guix.gnu.org\") (guix-publish \"ci.guix.gnu.org\") \
        (lambda (file algo hash) (string-append \"https://tarballs.nixos.org/\" (symbol->string algo) \"/\" \
        (bytevector->nix-base32-string hash))) (lambda (file algo hash) (string-append \
        \"https://archive.softwareheritage.org/api/1/content/\" (symbol->string algo) \":\" \
        (bytevector->base16-string hash) \"/raw/\"))))";

    #[test]
    fn the_urls_are_those_that_guixs_code_makes() {
        let hash = ContentHash::of(HashAlgorithm::Sha256, "abc");
        let all = |templates: Vec<Template>| -> Vec<String> {
            let urls = templates.iter();
            urls.map(|template| template.url("x.tar", &hash)).collect()
        };
        let base16 = hash.to_base16();
        let base32 = "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";
        let mut expected = [
            format!("https://bordeaux.guix.gnu.org/file/x.tar/sha256/{base32}"),
            format!("https://ci.guix.gnu.org/file/x.tar/sha256/{base32}"),
            format!("https://tarballs.nixos.org/sha256/{base32}"),
            format!("https://archive.softwareheritage.org/api/1/content/sha256:{base16}/raw/"),
        ];
        assert_eq!(all(templates(GUIX)), expected);
        // Ours asks tarballs.nixos.org first. It has both spellings of hashes.
        expected[2] = format!("https://tarballs.nixos.org/sha256/{base16}");
        expected.swap(0, 2);
        assert_eq!(all(usual()), expected);
        assert_eq!(all(servers(&Mirrors::default())), expected);
        let own = "by-hash=http://a.example/x by-hash=http://b.example";
        assert_eq!(
            all(servers(&own.parse().unwrap())),
            [
                format!("http://a.example/x/sha256/{base16}"),
                format!("http://b.example/sha256/{base16}")
            ]
        );
        assert_eq!(all(servers(&"by-hash=none".parse().unwrap())), [""; 0]);
    }

    #[test]
    fn code_in_another_shape_is_left_out_and_never_run() {
        let directory = tempfile::tempdir().unwrap();
        let touched = directory.path().join("touched");
        let call = format!("(system \"touch {}\")", touched.display());
        for code in [
            "",
            "(",
            "(list)",
            "'()",
            &call,
            &format!("(begin {call} (list))"),
            &format!("(list (lambda (file algo hash) {call}))"),
            "(list (lambda (file algo hash) (string-append \"https://a/\" (system file))))",
            "(list (lambda (file algo hash) (string-append \"file:///\" file)))",
            "(list (lambda (file algo hash) (string-append file)))",
            "(list (unknown \"host\"))",
            &format!("#.{call}"),
        ] {
            assert_eq!(templates(code), [], "{code}");
            assert!(!touched.exists(), "{code}");
        }
        let mixed = "(list (system \"x\") (lambda (f a h) (string-append \"http://h/\" f)))";
        assert_eq!(templates(mixed).len(), 1);
    }
}
