//! Store paths: `STORE-DIR/HASH-NAME`, and how Guix computes the hash.

use std::fmt;
use std::sync::Arc;

/// The logical store directory, such as `/gnu/store`: absolute, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreDir(Arc<str>);

/// The name of a store item, `HASH-NAME`, without the store directory it lives in.
///
/// A value exists only once its digest and its name have been checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath {
    base_name: Arc<str>,
}

impl StoreDir {
    /// The directory as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl StorePath {
    /// `HASH-NAME`.
    pub fn base_name(&self) -> &str {
        &self.base_name
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
