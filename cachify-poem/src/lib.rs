#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod extract;
mod hold;
#[cfg(feature = "server")]
mod listener;
mod middleware;
#[cfg(feature = "openapi")]
mod openapi;
mod reject;

pub use cachify_core;
#[doc(inline)]
pub use cachify_core::*;

pub use extract::{Locked, Once, Permit};
pub use hold::{
    LockEndpoint, LockMiddleware, OnceEndpoint, OnceMiddleware, PoolEndpoint, PoolMiddleware,
};
#[cfg(feature = "server")]
pub use listener::{HangupAcceptor, HangupListener, HangupStream};
pub use middleware::{CacheEndpoint, CacheMiddleware, ScopeEndpoint, ScopeMiddleware};
pub use reject::Rejection;
