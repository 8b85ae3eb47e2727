//! What the macros turn into.

pub(crate) mod key;
