#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod cache;
mod extract;
mod hold;
#[cfg(feature = "server")]
mod listener;
#[cfg(feature = "openapi")]
mod openapi;
mod problem;
mod routed;
mod scope;

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

pub use cache::{CacheEndpoint, CacheMiddleware};
#[cfg(feature = "server")]
#[doc(inline)]
pub use cachify_core::http::HangupStream;
pub use extract::{Locked, Pooled, RunOnce};
pub use hold::{HoldEndpoint, LockMiddleware, OnceMiddleware, PoolMiddleware};
#[cfg(feature = "server")]
pub use listener::{HangupAcceptor, HangupListener};
pub use problem::Problem;
pub use scope::{ScopeEndpoint, ScopeMiddleware};
