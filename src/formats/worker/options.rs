// SPDX-License-Identifier: GPL-3.0-or-later
//! The options that a client sets for its connection.

use std::io::Read;

use super::{Version, WireError, WireReader};

/// The arguments of `set-options`, as they were sent. Which of them count is for the daemon to decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientOptions {
    /// Whether the build directory of a failed build stays.
    pub keep_failed: bool,
    /// Whether a failure stops only what depends on it.
    pub keep_going: bool,
    /// Whether to build what no server has after all.
    pub fallback: bool,
    /// How much the daemon logs.
    pub verbosity: u32,
    /// Whether builds may be sent elsewhere.
    pub use_build_hook: Option<bool>,
    /// How much builds log. Obsolete.
    pub build_verbosity: Option<u32>,
    /// The form of logs. Obsolete.
    pub log_type: Option<u32>,
    /// Whether lines such as `@ build-started` are sent.
    pub print_build_trace: Option<bool>,
    /// Whether substitutes are used.
    pub use_substitutes: Option<bool>,
    /// Options by name. Those that old clients send as numbers come first.
    pub named: Vec<(String, String)>,
}

impl ClientOptions {
    pub(super) fn read(
        reader: &mut WireReader<impl Read>,
        version: Version,
    ) -> Result<Self, WireError> {
        let minor = version.minor();
        let mut options = Self {
            keep_failed: reader.boolean()?,
            keep_going: reader.boolean()?,
            fallback: reader.boolean()?,
            verbosity: reader.int()?,
            ..Self::default()
        };
        let mut number = |reader: &mut WireReader<_>, name: &str| {
            let number = reader.int()?;
            options.named.push((name.to_owned(), number.to_string()));
            Ok::<_, WireError>(())
        };
        if minor < 0x61 {
            number(reader, "build-max-jobs")?;
            number(reader, "build-max-silent-time")?;
        }
        if minor >= 2 {
            options.use_build_hook = Some(reader.boolean()?);
        }
        if minor >= 4 {
            options.build_verbosity = Some(reader.int()?);
            options.log_type = Some(reader.int()?);
            options.print_build_trace = Some(reader.boolean()?);
        }
        if (6..0x61).contains(&minor) {
            let cores = reader.int()?;
            options
                .named
                .push(("build-cores".to_owned(), cores.to_string()));
        }
        if minor >= 10 {
            options.use_substitutes = Some(reader.boolean()?);
        }
        if minor >= 12 {
            let named = reader.list("a list of options", |reader| {
                let name = reader.string("an option's name")?;
                let value = reader.string("an option's value")?;
                let size = name.len() + value.len();
                Ok(((name, value), size))
            })?;
            options.named.extend(named);
        }
        Ok(options)
    }
}
