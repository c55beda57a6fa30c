// SPDX-License-Identifier: GPL-3.0-or-later
//! From recipes and a seed to a plan: the graph of derivations that makes the implicit inputs.

pub mod plan;
pub mod recipe;
pub mod seed;
