//! Every macro in a crate that is public and allows no lints.
//!
//! The tests compile it; clippy and rustdoc check it with the other targets.
#![deny(
    warnings,
    unused,
    nonstandard_style,
    future_incompatible,
    rust_2018_idioms,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    let_underscore_drop,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_code,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    clippy::clone_on_ref_ptr,
    clippy::exhaustive_enums,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::shadow_reuse,
    clippy::shadow_same,
    clippy::shadow_unrelated,
    clippy::unwrap_used
)]

use std::fmt::Display;
use std::time::Duration;

use cachify_core::{
    CacheKey, Cacheable, Cachify, Error, Key, KeyPart, cached, key, locked, once, pooled,
};

/// An order to charge.
#[derive(Debug, Clone, Copy, CacheKey)]
#[key("order-{id}")]
pub struct Order<T> {
    /// Its number.
    pub id: T,
}

/// Reads a user.
///
/// # Errors
///
/// If the database has none.
#[cached(key = "user-{id}", ttl = "5m", jitter = 0.1, cache_if = |name| !name.is_empty())]
#[pooled(key = "database", max = 10, wait = Duration::from_secs(1))]
pub async fn read_user(database: &[String], id: usize) -> Result<String, Error> {
    std::future::ready(()).await;
    Ok(database.get(id).cloned().unwrap_or_default())
}

/// Reports once a day.
#[once(key = "report", on_locked = (), on_error = drop)]
pub async fn report() {}

/// Returns the report of a day.
#[once(key = "report-{day}", on_locked = None, on_unavailable = None, with = cachify)]
pub async fn report_of(cachify: &Cachify, day: impl Display + Send + Sync) -> Option<String> {
    Some(day.to_string())
}

/// Charges an order.
///
/// # Errors
///
/// If it is already being charged.
#[locked(key = "charge-{order.id}", map_err = std::io::Error::other)]
pub fn charge<T: KeyPart>(order: &Order<T>) -> std::io::Result<Key> {
    let id = &order.id;
    Ok(key!("charged-{id}"))
}

/// Deprecated and hidden from the docs.
#[doc(hidden)]
#[deprecated = "read a user"]
#[cached(key = "old-{user_id}")]
pub async fn read_old(user_id: u64) -> u64 {
    user_id
}

/// A table of users.
#[derive(Debug)]
pub struct Repository<T> {
    cachify: Cachify,
    name: &'static str,
    user: T,
}

impl<T: Cacheable> Repository<T> {
    /// A repository.
    pub const fn new(cachify: Cachify, name: &'static str, user: T) -> Self {
        Self {
            cachify,
            name,
            user,
        }
    }

    /// Finds a user.
    ///
    /// # Errors
    ///
    /// Never.
    #[cached(key = "find-{self.name}-{id}", with = self.cachify)]
    #[locked(key = "find-{self.name}-{id}", wait = 1, with = self.cachify)]
    pub async fn find(&self, id: u64) -> Result<T, Error> {
        let _ = id;
        Ok(self.user.clone())
    }

    /// Counts the users.
    #[cached(key = "count", method)]
    pub async fn count() -> u64 {
        std::future::ready(7).await
    }
}
