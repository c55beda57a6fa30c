// SPDX-License-Identifier: GPL-3.0-or-later
//! Why a request was not answered as asked.

use std::fmt::Display;

use crate::diagnostics::with_hint;
use crate::engine::EngineError;
use crate::exchange::ExchangeError;
use crate::store::StoreError;

/// Why a request was not answered as asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// It failed. The next request may follow.
    Refused {
        message: String,
        /// guix-daemon's: 1, or 100 and more for builds.
        status: u32,
    },
    /// Where the next request starts is not known.
    Ended { message: String },
    /// The client is gone, or this process is to end.
    Gone,
}

impl Fault {
    /// A failure with `message` that leaves the connection usable.
    pub(super) fn refused(message: impl Display) -> Self {
        Self::Refused {
            message: message.to_string(),
            status: 1,
        }
    }

    /// A failure with `message` that ends the connection.
    pub(super) fn ended(message: impl Display) -> Self {
        Self::Ended {
            message: message.to_string(),
        }
    }

    /// guix-daemon's words for a path that is not valid.
    pub(super) fn not_valid(path: &str) -> Self {
        Self::refused(format!("path `{path}' is not valid"))
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::refused(with_hint(&error))
    }
}

impl From<ExchangeError> for Fault {
    fn from(error: ExchangeError) -> Self {
        Self::refused(with_hint(&error))
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::refused(with_hint(&error))
    }
}
