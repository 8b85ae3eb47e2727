#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod filter;
pub mod handler;
mod hold;
mod reject;

pub use cachify_core;
#[doc(inline)]
pub use cachify_core::*;

pub use cache::Cache;
pub use filter::{FilterExt, get_or_head, host, query, with_cachify};
pub use hold::{Lock, Once, Pool};
pub use reject::{Rejection, recover};
