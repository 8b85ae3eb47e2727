#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod filter;
pub mod handler;
mod hold;
mod problem;
mod request;

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

pub use cache::CacheOptions;
pub use filter::FilterExt;
pub use hold::{LockOptions, OnceOptions, PoolOptions};
pub use problem::{Problem, recover};
pub use request::{get_or_head, host, query, with_cachify};
