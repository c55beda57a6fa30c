// SPDX-License-Identifier: GPL-3.0-or-later
//! Exports and imports.

use std::io::Write;

use super::ClientSession;
use super::connection::{ClientSource, ExportSink};
use super::fault::Fault;
use crate::exchange::ExchangeError;
use crate::exchange::stream::{self, Trust, UNSIGNED};
use crate::formats::hash::Sha256Digest;
use crate::formats::keys::sexp::Sexp;
use crate::formats::keys::{GuixSecretKey, PublicKey, SecretKey, guix};
use crate::formats::narinfo::NarInfoError;
use crate::formats::worker::{AskedPath, Fields};
use crate::limited_file;

impl ClientSession {
    /// Sends a store item with its references and, with `sign`, a signature.
    pub(super) fn export_path(&self, asked: &AskedPath, sign: bool) -> Result<Fields, Fault> {
        let info = self.info(asked)?;
        self.store.add_temporary_roots([&info.path])?;
        let key = match sign {
            true => Some(self.signing_key()?),
            false => None,
        };
        let mut sink = ExportSink::new(&self.client);
        let location = "the client";
        let sign = |digest: &Sha256Digest| key.as_ref().map(|key| key.sign(digest));
        stream::export_item(&self.store, &info, &sign, &mut sink, location)?;
        sink.flush().map_err(|_| Fault::Gone)?;
        Ok(Fields::of_long(1))
    }

    /// Makes the items of an export valid. Each must be signed by a key of the access control list, for trusted clients
    /// too.
    pub(super) fn import_paths(&mut self) -> Result<Fields, Fault> {
        let keys = self.authorized_keys()?;
        let scratch = self.directories.state.join("bootstrap");
        let mut source = ClientSource::new(&self.client, &mut self.reader);
        let location = "the client";
        let imported = stream::import(
            &self.store,
            &mut source,
            Trust {
                keys: &keys,
                unsigned: false,
            },
            &scratch,
            location,
        );
        match (imported, source.problem()) {
            (Ok(paths), _) => Ok(self.list(&paths)),
            // What comes next from the client has no meaning.
            (Err(_), Some(problem)) => Err(Fault::ended(problem)),
            (Err(error), None) => Err(refusal(error)),
        }
    }

    /// The keys whose owners may say what is in the store. None where there is no access control list.
    pub(super) fn authorized_keys(&self) -> Result<Vec<PublicKey>, Fault> {
        let path = &self.configuration.acl;
        match limited_file::read(path, limited_file::SMALL) {
            Ok(text) => Ok(guix::public_keys(&text, "acl").keys),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Fault::refused(format!(
                "cannot read {}: {error}",
                path.display()
            ))),
        }
    }

    /// The key in the configured file, which Guix has made, or this program.
    fn signing_key(&self) -> Result<SigningKey, Fault> {
        let path = &self.configuration.signing_key;
        let failed = |problem: String| {
            Fault::refused(format!(
                "cannot sign: {problem}\nhint: make a key with `guix archive --generate-key'"
            ))
        };
        let text = limited_file::read(path, limited_file::SMALL)
            .map_err(|error| failed(format!("cannot read the key {}: {error}", path.display())))?;
        if let Some(key) = GuixSecretKey::parse(&text) {
            return Ok(SigningKey::Guix(key));
        }
        SecretKey::read(path)
            .map(SigningKey::Own)
            .map_err(|error| failed(error.to_string()))
    }
}

/// Why an import is refused, in guix-daemon's words first: its clients look for them.
fn refusal(error: ExchangeError) -> Fault {
    let words = match &error {
        ExchangeError::NarInfo(NarInfoError::Untrusted { seen, .. }) if seen == UNSIGNED => {
            "imported archive lacks a signature"
        }
        ExchangeError::NarInfo(NarInfoError::Untrusted { .. }) => "unauthorized public key",
        ExchangeError::Altered { .. } => "imported archive is corrupt",
        ExchangeError::Missing { .. } => "a reference of the imported archive is not valid",
        _ => return error.into(),
    };
    match Fault::from(error) {
        Fault::Refused { message, status } => Fault::Refused {
            message: format!("{words}: {message}"),
            status,
        },
        fault => fault,
    }
}

/// A key that signs exports.
enum SigningKey {
    Guix(GuixSecretKey),
    Own(SecretKey),
}

impl SigningKey {
    fn sign(&self, digest: &Sha256Digest) -> Sexp {
        match self {
            Self::Guix(key) => guix::sexp_of(&key.sign_digest(digest), key.public(), digest),
            Self::Own(key) => guix::sign(key, digest),
        }
    }
}
