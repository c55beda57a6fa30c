// SPDX-License-Identifier: GPL-3.0-or-later
//! `HASH.narinfo`, in which a substitute server describes a store item: lines of `Name: value`.
//!
//! It is signed twice:
//!
//! - `Sig: NAME:BASE64` is Nix's. Signed is not the file but a fingerprint of what matters:
//!   `1;PATH;NARHASH;NARSIZE;REFERENCES`, with whole paths, the references sorted and joined by commas, the hash as
//!   `sha256:` and base 32. So an item can be compressed again and the signature still holds.
//! - `Signature: 1;HOST;BASE64` is Guix's: an S-expression (see [`guix`]) over the SHA-256 of the file's text before
//!   this line, which has to hold path, hash and references. Places of archives may come after it.
//!
//! Guix's servers may name several files in one narinfo, each with `URL`, `Compression` and `FileSize`; Nix takes the
//! last.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::formats::base32;
use crate::formats::content_hash::ContentHash;
use crate::formats::hash::Sha256Digest;
use crate::formats::keys::guix::Mistrust;
use crate::formats::keys::{PublicKey, SecretKey, guix};
use crate::formats::path_info::PathInfo;
use crate::formats::store_path::{StoreDir, StorePath};
use crate::formats::visible::visible;

/// A narinfo that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NarInfoError {
    /// A narinfo that cannot be read.
    #[error("{location}: line {line}: {problem}{}", seen(saw.as_deref()))]
    Syntax {
        /// Where it is from.
        location: String,
        /// The line, from 1; 0 for the whole.
        line: usize,
        /// What is wrong there, without a word of the text.
        problem: String,
        /// The text that is wrong, apart: who named the place of the file need not be allowed to read it.
        saw: Option<String>,
    },
    /// An item without a good signature.
    #[error(
        "{path}, from {location}, has no signature by a key that is trusted ({})",
        visible(seen)
    )]
    #[diagnostic(help(
        "add the key of its signer to `trusted-keys` if you trust it, or have it signed (--key)"
    ))]
    Untrusted {
        /// The item.
        path: String,
        /// Where it is from.
        location: String,
        /// What signatures there are.
        seen: String,
    },
    /// A signature in the name of a trusted key that is not of this item.
    #[error(
        "{path}, from {location}: the signature of {} does not match: altered after signing",
        visible(key)
    )]
    Altered {
        /// The item.
        path: String,
        /// Where it is from.
        location: String,
        /// The key, in words.
        key: String,
    },
}

/// A compressed archive of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarFile {
    /// Its place, relative to the server's root, or a whole URL.
    pub url: String,
    /// `zstd`, `gzip`, `none` and others; `bzip2` where the narinfo does not say, as in Nix.
    pub compression: String,
    /// Its size in bytes, where it is known.
    pub size: Option<u64>,
}

/// The description of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfo {
    /// The item.
    pub path: StorePath,
    /// Its archives.
    pub files: Vec<NarFile>,
    /// The SHA-256 of its NAR.
    pub nar_sha256: Sha256Digest,
    /// The size of its NAR in bytes.
    pub nar_size: u64,
    /// What it refers to.
    pub references: BTreeSet<StorePath>,
    /// The derivation it was built from.
    pub deriver: Option<StorePath>,
    /// Nix's signatures, `NAME:BASE64`.
    pub signatures: Vec<String>,
    /// Guix's signature, where it was read.
    pub guix: Option<GuixSignature>,
}

/// Guix's signature of a narinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuixSignature {
    /// The SHA-256 of the text before it.
    pub digest: Sha256Digest,
    /// The S-expression, which need not be UTF-8.
    pub text: Vec<u8>,
}

/// How the line with Guix's signature begins.
const GUIX: &str = "Signature:";

/// The fingerprint of an item.
pub fn fingerprint(
    store_dir: &StoreDir,
    path: &StorePath,
    nar_sha256: &Sha256Digest,
    nar_size: u64,
    references: &BTreeSet<StorePath>,
) -> String {
    let references: Vec<String> = references
        .iter()
        .map(|reference| store_dir.display(reference))
        .collect();
    format!(
        "1;{};{};{nar_size};{}",
        store_dir.display(path),
        shown(nar_sha256),
        references.join(",")
    )
}

/// The fingerprint of an item as the database knows it.
pub fn fingerprint_of(store_dir: &StoreDir, info: &PathInfo) -> String {
    fingerprint(
        store_dir,
        &info.path,
        &info.nar_sha256,
        info.nar_size,
        &info.references,
    )
}

impl NarInfo {
    /// The narinfo of `info`, whose archives are `files`, signed with `key`.
    pub fn of(
        store_dir: &StoreDir,
        info: &PathInfo,
        files: Vec<NarFile>,
        key: Option<&SecretKey>,
    ) -> Self {
        let message = fingerprint_of(store_dir, info);
        Self {
            path: info.path.clone(),
            files,
            nar_sha256: info.nar_sha256,
            nar_size: info.nar_size,
            references: info.references.clone(),
            deriver: info.deriver.clone(),
            signatures: key
                .map(|key| key.sign_named(&message))
                .into_iter()
                .collect(),
            guix: None,
        }
    }

    /// The text of the file, which Guix's signature by `key` ends.
    pub fn to_text(&self, store_dir: &StoreDir, key: Option<&SecretKey>) -> String {
        let mut text = format!("StorePath: {}\n", store_dir.display(&self.path));
        for file in &self.files {
            text.push_str(&format!(
                "URL: {}\nCompression: {}\n",
                file.url, file.compression
            ));
            if let Some(size) = file.size {
                text.push_str(&format!("FileSize: {size}\n"));
            }
        }
        let references: Vec<&str> = self.references.iter().map(StorePath::base_name).collect();
        text.push_str(&format!(
            "NarHash: {}\nNarSize: {}\nReferences: {}\n",
            shown(&self.nar_sha256),
            self.nar_size,
            references.join(" ")
        ));
        if let Some(deriver) = &self.deriver {
            text.push_str(&format!("Deriver: {}\n", deriver.base_name()));
        }
        for signature in &self.signatures {
            text.push_str(&format!("Sig: {signature}\n"));
        }
        if let Some(key) = key {
            let signature = guix::sign(key, &Sha256Digest::of(&text)).to_string();
            let signature = STANDARD.encode(signature);
            text.push_str(&format!("{GUIX} 1;{};{signature}\n", key.name()));
        }
        text
    }

    /// Reads `text`, which is from `location` and must be about `path`.
    ///
    /// # Errors
    /// Names the line that is wrong.
    pub fn parse(
        store_dir: &StoreDir,
        path: &StorePath,
        text: &str,
        location: &str,
    ) -> Result<Self, NarInfoError> {
        let wrong = |line: usize, problem: String, saw: Option<&str>| NarInfoError::Syntax {
            location: location.to_owned(),
            line,
            problem,
            saw: saw.map(visible),
        };
        let mut info = Self {
            path: path.clone(),
            files: Vec::new(),
            nar_sha256: Sha256Digest([0; 32]),
            nar_size: 0,
            references: BTreeSet::new(),
            deriver: None,
            signatures: Vec::new(),
            guix: None,
        };
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut before = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let (number, start) = (number + 1, before);
            before += line.len();
            let line = line.trim_end_matches(['\r', '\n']);
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| wrong(number, "expected `Name: value`".to_owned(), Some(line)))?;
            let value = value.trim();
            let bad =
                |expected: &str| wrong(number, format!("{name}: expected {expected}"), Some(value));
            let base_name =
                |text: &str| StorePath::from_base_name(text).map_err(|_| bad("a store item"));
            let is_place = ["URL", "Compression", "FileSize", "FileHash"].contains(&name);
            if info.guix.is_some() && !is_place {
                let problem = "expected nothing but places of archives after `Signature`";
                return Err(wrong(number, problem.to_owned(), Some(line)));
            }
            match name {
                "StorePath" if value != store_dir.display(path) => {
                    return Err(bad(&store_dir.display(path)));
                }
                "URL" => {
                    if !is_place_of_archive(value) {
                        return Err(bad("a place below the server's root, or a URL"));
                    }
                    info.files.push(NarFile {
                        // As Nix reads it: joined to the server's URL by a slash.
                        url: value.trim_start_matches('/').to_owned(),
                        // What Nix takes where nothing is said.
                        compression: "bzip2".to_owned(),
                        size: None,
                    });
                }
                "Compression" => {
                    let file = info.files.last_mut();
                    file.ok_or_else(|| bad("`URL` before it"))?.compression = value.to_owned();
                }
                "FileSize" => {
                    let size = value.parse().map_err(|_| bad("a number of bytes"))?;
                    let file = info.files.last_mut();
                    file.ok_or_else(|| bad("`URL` before it"))?.size = Some(size);
                }
                "NarHash" => {
                    let hash = value.parse::<ContentHash>().ok();
                    let digest = hash.and_then(|hash| hash.sha256());
                    info.nar_sha256 = digest
                        .ok_or_else(|| bad("a SHA-256 as `sha256:DIGITS` or `sha256-BASE64`"))?;
                }
                "NarSize" => info.nar_size = value.parse().map_err(|_| bad("a number of bytes"))?,
                "References" => {
                    info.references = value
                        .split_whitespace()
                        .map(base_name)
                        .collect::<Result<_, _>>()?;
                }
                "Deriver" if !["", "unknown-deriver"].contains(&value) => {
                    info.deriver = Some(base_name(value)?);
                }
                "Sig" => info.signatures.push(value.to_owned()),
                "Signature" => {
                    let mut parts = value.split(';');
                    let signature = match [parts.next(), parts.next(), parts.next(), parts.next()] {
                        [Some("1"), Some(_), Some(encoded), None] => STANDARD.decode(encoded).ok(),
                        _ => None,
                    };
                    info.guix = Some(GuixSignature {
                        digest: Sha256Digest::of(&text[..start]),
                        text: signature.ok_or_else(|| bad("1;HOST;BASE64"))?,
                    });
                }
                // Servers may say more.
                _ => {}
            }
            seen.insert(name);
        }
        // As in Nix, an item without references need not say so.
        for name in ["StorePath", "URL", "NarHash", "NarSize"] {
            if !seen.contains(name) {
                return Err(wrong(0, format!("`{name}` is missing"), None));
            }
        }
        Ok(info)
    }

    /// Checks that one of `keys` has signed this.
    ///
    /// # Errors
    /// Where none has.
    pub fn check(
        &self,
        store_dir: &StoreDir,
        keys: &[PublicKey],
        location: &str,
    ) -> Result<(), NarInfoError> {
        let message = fingerprint(
            store_dir,
            &self.path,
            &self.nar_sha256,
            self.nar_size,
            &self.references,
        );
        let is_signed = |key: &PublicKey| {
            let mut signatures = self.signatures.iter();
            signatures.any(|signature| key.has_signed_named(&message, signature))
        };
        if keys.iter().any(is_signed) {
            return Ok(());
        }
        let guix = self.guix.as_ref();
        let guix = guix.map(|guix| guix::check(&guix.text, &guix.digest, keys));
        if matches!(guix, Some(Ok(()))) {
            return Ok(());
        }
        let names = self.signatures.iter();
        let names: Vec<&str> = names
            .map(|signature| signature.split(':').next().unwrap_or_default())
            .collect();
        let altered = match &guix {
            // One that names a trusted key.
            Some(Err(Mistrust::Differs(_) | Mistrust::Forged(_))) => {
                Some("a trusted key".to_owned())
            }
            // Nix's signatures name a key and do not hold it: where Guix's shows that it is another one, the names
            // agree by chance.
            Some(Err(Mistrust::Stranger(_))) => None,
            _ => names
                .iter()
                .copied()
                .find(|name| keys.iter().any(|key| key.name() == *name))
                .map(|name| format!("the trusted key {name}")),
        };
        if let Some(key) = altered {
            return Err(NarInfoError::Altered {
                path: store_dir.display(&self.path),
                location: location.to_owned(),
                key,
            });
        }
        let seen = match (guix, names.as_slice()) {
            (Some(Err(mistrust)), []) => mistrust.to_string(),
            (_, []) => "it is not signed".to_owned(),
            (_, names) => format!("it is signed by {}", names.join(", ")),
        };
        Err(NarInfoError::Untrusted {
            path: store_dir.display(&self.path),
            location: location.to_owned(),
            seen,
        })
    }
}

/// The end of a message about `text`.
pub fn seen(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(", saw `{text}`"))
}

/// Whether `url` names an archive: a place below the server's root, or a URL of the web.
fn is_place_of_archive(url: &str) -> bool {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let leaves = url.split('/').any(|part| part == "..");
    !url.trim_start_matches('/').is_empty() && !leaves && (is_web || !url.contains("://"))
}

/// `digest` as narinfos and fingerprints have it.
pub(crate) fn shown(digest: &Sha256Digest) -> String {
    format!("sha256:{}", base32::encode(&digest.0))
}

#[cfg(test)]
#[path = "narinfo/tests.rs"]
mod tests;
