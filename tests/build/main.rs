//! Builds from end to end: a store of their own under a temporary root, the real sandbox, and a builder that does as it
//! is told (`toy.c`).

mod failures;
mod interruptions;
mod reuse;
mod site;
mod success;
