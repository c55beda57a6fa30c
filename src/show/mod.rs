// SPDX-License-Identifier: GPL-3.0-or-later
//! Shows runs to users: progress while they last, records, reports and graphs afterwards.

pub mod graph;
pub mod progress;
pub mod records;
pub mod report;
pub mod summary;
