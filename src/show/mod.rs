//! What a person sees of a run: progress while it goes on, records, reports and graphs afterwards.

pub mod graph;
pub mod progress;
pub mod records;
pub mod report;
