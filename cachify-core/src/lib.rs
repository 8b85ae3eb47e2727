//! Caching, locking, run-once and pools.
