#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod extract;
mod hold;
mod layer;
mod reject;

pub use cachify_core;
#[doc(inline)]
pub use cachify_core::*;

pub use extract::{Locked, Once, Permit};
pub use hold::{
    BodyLayer, BodyService, LockLayer, LockService, OnceLayer, OnceService, PoolLayer, PoolService,
};
pub use layer::{CacheLayer, CacheService, ResponseFuture, ScopeLayer, ScopeService};
pub use reject::Rejection;
