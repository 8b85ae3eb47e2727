#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod cache;
mod extract;
mod hold;
mod problem;
mod routed;
mod scope;
mod service;

pub use cachify_core as core;
#[doc(hidden)]
pub use cachify_core::__private;
#[doc(inline)]
pub use cachify_core::http::{hashed, problem};
#[doc(inline)]
pub use cachify_core::{
    CacheKey, Cached, Cachify, CachifyBuilder, Encoding, Error, ErrorKind, Guard, IntoTime, Key,
    KeyPart, KeyTemplate, Keys, Lock, Once, Permit, Pool, Ttl, init,
};
#[cfg(feature = "macros")]
#[doc(inline)]
pub use cachify_core::{cached, key, locked, once, pooled};

pub use body::{BodyLayer, BodyService};
pub use cache::{CacheLayer, CacheService};
pub use extract::{Locked, Pooled, RunOnce};
pub use hold::{HoldService, LockLayer, OnceLayer, PoolLayer};
pub use problem::Problem;
pub use scope::{ScopeLayer, ScopeService};
pub use service::ResponseFuture;
