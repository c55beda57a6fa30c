// SPDX-License-Identifier: GPL-3.0-or-later
//! What follows from a build: the packages that need what it made.

use super::{EngineError, FinishedRun};

impl FinishedRun<'_> {
    /// The labels of what was to be built, and how many packages of the plan need one of these and are not valid. None
    /// where nothing was made.
    ///
    /// # Errors
    /// Where the store's database cannot be read.
    pub fn waiting_dependents(&self) -> Result<(Vec<&str>, usize), EngineError> {
        let nodes = self.planned.plan.nodes();
        let targets = self.targets.iter();
        let labels: Vec<&str> = targets.map(|node| nodes[*node].label.as_str()).collect();
        let made = &self.report.summary.made;
        if !made.iter().any(|item| labels.contains(&item.item.as_str())) {
            return Ok((labels, 0));
        }
        let dependents = self.planned.plan.dependents(self.targets.iter().copied());
        let others: Vec<usize> = dependents
            .into_iter()
            .filter(|node| !self.targets.contains(node))
            .collect();
        let outputs = others.iter().flat_map(|node| nodes[*node].output_paths());
        let valid = self.store.valid_among(outputs.map(|(_, path)| path))?;
        let is_built = |node: usize| {
            let mut outputs = nodes[node].output_paths();
            outputs.all(|(_, path)| valid.contains(path))
        };
        let missing = others.iter().filter(|node| !is_built(**node)).count();
        Ok((labels, missing))
    }
}
