#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod extract;
mod hold;
#[cfg(feature = "server")]
mod listener;
mod middleware;
#[cfg(feature = "openapi")]
mod openapi;
mod reject;

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

pub use extract::{Locked, Pooled, RunOnce};
pub use hold::{
    LockEndpoint, LockMiddleware, OnceEndpoint, OnceMiddleware, PoolEndpoint, PoolMiddleware,
};
#[cfg(feature = "server")]
pub use listener::{HangupAcceptor, HangupListener, HangupStream};
pub use middleware::{CacheEndpoint, CacheMiddleware, ScopeEndpoint, ScopeMiddleware};
pub use reject::Problem;
