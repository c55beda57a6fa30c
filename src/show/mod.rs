// SPDX-License-Identifier: GPL-3.0-or-later
//! Shows runs to users: progress while they last, records, reports and graphs afterwards.

mod cause;
pub mod checks;
pub mod comparisons;
pub mod completions;
pub mod forecast;
pub mod graph;
pub mod manual;
pub mod progress;
pub mod reasons;
pub mod rebuilds;
pub mod records;
pub mod report;
pub mod roots;
pub mod seeds;
pub mod settings;
pub mod summary;
pub mod usage;
pub mod visible_log;
