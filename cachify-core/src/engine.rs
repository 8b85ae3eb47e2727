//! What reads and slots share: protection from a failing backend, and background work.

pub(crate) mod breaker;
pub(crate) mod renewal;
