// SPDX-License-Identifier: GPL-3.0-or-later
//! Where a recipe's sources are: the tables `source`, `extra` and those inside them.

use std::ops::Range;

use toml::Spanned;

use super::super::error::RecipeProblem;
use super::super::model::{RecipeText, Regenerate, Source};
use super::super::reader::{Field, RecipeReader, Value};
use crate::fetch::Location;
use crate::formats::hash::Sha256Digest;

const SOURCE_KEYS: &[&str] = &[
    "file",
    "sha256",
    "size",
    "urls",
    "debian",
    "patches",
    "regenerate",
];
const EXTRA_KEYS: &[&str] = &["file", "sha256", "size", "urls", "debian"];
const DEBIAN_KEYS: &[&str] = &["package", "version", "file"];
const REGENERATE_KEYS: &[&str] = &["root", "script"];

/// Reads a table `source`, or where it is not the `main` one, `extra`.
pub(super) fn source(
    reader: &mut RecipeReader<'_>,
    key: &str,
    span: Range<usize>,
    value: &Value<'_>,
    main: bool,
) -> Option<Source> {
    let known = if main { SOURCE_KEYS } else { EXTRA_KEYS };
    let place = format!("[{key}]");
    let mut file = Field::Absent;
    let mut sha256 = Field::Absent;
    let mut size = None;
    let mut urls = Vec::new();
    let mut debian = Field::Absent;
    let mut patches = Vec::new();
    let mut regenerate = None;
    let mut has_urls = false;
    for (key, value) in reader.table(key, value)? {
        match key.get_ref().as_ref() {
            "file" => file = reader.item_name("file", value).into(),
            "sha256" => sha256 = hash(reader, value).into(),
            "size" => size = reader.count("size", value, "a number of bytes, above zero"),
            "urls" => {
                has_urls = true;
                urls = reader.texts("urls", value);
                urls.retain(|url| check_url(reader, url));
            }
            "debian" => debian = debian_location(reader, &place, value).into(),
            "patches" if main => patches = reader.recipe_files("patches", value),
            "regenerate" if main => regenerate = regeneration(reader, &place, value),
            _ => reader.unknown(key, &place, known),
        }
    }
    if matches!(debian, Field::Absent) && !has_urls {
        reader.report(span.clone(), RecipeProblem::NoLocation);
    }
    let file = reader.required(file, "file", &place, &span);
    let sha256 = reader.required(sha256, "sha256", &place, &span);
    Some(Source {
        file: file?,
        sha256: sha256?,
        size,
        locations: urls
            .into_iter()
            .map(|url| Location::Url(url.into_inner()))
            .chain(debian.into_option())
            .collect(),
        patches,
        regenerate,
    })
}

fn hash(reader: &mut RecipeReader<'_>, value: &Value<'_>) -> Option<Sha256Digest> {
    let text = reader.text("sha256", value)?;
    match Sha256Digest::from_base16(text.get_ref()) {
        Ok(digest) => Some(digest),
        Err(invalid) => {
            reader.report(value.span(), invalid);
            None
        }
    }
}

/// Reports a URL that the downloader would not take.
fn check_url(reader: &mut RecipeReader<'_>, url: &Spanned<String>) -> bool {
    match url.get_ref().parse::<Location>() {
        Ok(Location::Url(_)) => true,
        // Packages have keys of their own.
        Ok(_) => {
            let url_text = url.get_ref().clone();
            reader.report(url.span(), RecipeProblem::NotAUrl { url: url_text });
            false
        }
        Err(invalid) => {
            reader.report(url.span(), invalid);
            false
        }
    }
}

fn debian_location(
    reader: &mut RecipeReader<'_>,
    place: &str,
    value: &Value<'_>,
) -> Option<Location> {
    let place = format!("`debian` of {place}");
    let mut fields = [Field::Absent, Field::Absent, Field::Absent];
    for (key, value) in reader.table("debian", value)? {
        let known = DEBIAN_KEYS
            .iter()
            .position(|known| *known == key.get_ref().as_ref());
        match known {
            Some(index) => {
                let text = reader.filled_text(DEBIAN_KEYS[index], value);
                fields[index] = text.into();
            }
            None => reader.unknown(key, &place, DEBIAN_KEYS),
        }
    }
    let span = value.span();
    let [package, version, file] = fields;
    let package = reader.required(package, "package", &place, &span);
    let version = reader.required(version, "version", &place, &span);
    let file = reader.required(file, "file", &place, &span);
    let location = Location::DebianSource {
        package: package?,
        version: version?,
        file: file?,
    };
    // Through its text form, which is what the derivation holds and where all three are checked.
    match location.to_string().parse::<Location>() {
        Ok(same) if same == location => Some(location),
        Ok(_) => {
            let url = location.to_string();
            reader.report(span, RecipeProblem::NotAUrl { url });
            None
        }
        Err(invalid) => {
            reader.report(span, invalid);
            None
        }
    }
}

/// What a source without `configure` gets where its recipe names no script of its own.
const AUTORECONF: &[u8] = include_bytes!("autoreconf.sh");

fn regeneration(
    reader: &mut RecipeReader<'_>,
    place: &str,
    value: &Value<'_>,
) -> Option<Regenerate> {
    let place = format!("`regenerate` of {place}");
    let mut root = Field::Absent;
    let mut script = Field::Absent;
    for (key, value) in reader.table("regenerate", value)? {
        match key.get_ref().as_ref() {
            "root" => {
                let name = reader.item_name("root", value);
                root = name.map(|name| Spanned::new(value.span(), name)).into();
            }
            "script" => {
                let name = reader.text("script", value);
                script = name.and_then(|name| reader.recipe_file(&name)).into();
            }
            _ => reader.unknown(key, &place, REGENERATE_KEYS),
        }
    }
    let root = reader.required(root, "root", &place, &value.span());
    let script = match script {
        Field::Absent => RecipeText {
            name: "autoreconf.sh".to_owned(),
            contents: AUTORECONF.to_vec(),
        },
        given => reader.required(given, "script", &place, &value.span())?,
    };
    Some(Regenerate {
        root: root?,
        script,
    })
}
