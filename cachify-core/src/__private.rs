//! What the macros' expansions name. Not public API; adapters re-export it, so that an expansion finds
//! it in whichever cachify crate the user depends on.

pub use crate::key::{CacheKey, Key, KeyPart, KeyTemplate, Slot};
