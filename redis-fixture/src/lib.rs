//! Real Redis servers for tests, and a network between them and us that fails on demand.
//!
//! Everything blocks and nothing needs a runtime, so it serves `#[test]` and `#[tokio::test]`
//! alike. What cannot be had panics and says what to install: a test that needs Redis never passes
//! without.
//!
//! ```
//! let server = redis_fixture::Server::start();
//! server.command(&["SET", "greeting", "hello"]);
//! assert_eq!(server.command(&["GET", "greeting"]).text(), "hello");
//!
//! let proxy = redis_fixture::Proxy::start(&server.url());
//! proxy.black_hole(); // whoever talks to `proxy.url()` now waits for ever
//! proxy.resume();
//! ```
//!
//! A server is, in this order: for [`shared`] only, the one that `CACHIFY_TEST_REDIS_URL` names;
//! the program that `CACHIFY_REDIS_SERVER` names; `redis-server` or `valkey-server` from `PATH`;
//! with feature `containers`, a container of the image that `CACHIFY_REDIS_IMAGE` names (default:
//! [`IMAGE`]). Unix only.

// A fixture that cannot do its work has one thing to do, and that is to fail the test.
#![allow(clippy::expect_used)]

#[cfg(feature = "containers")]
mod container;
mod net;
mod process;
mod proxy;
mod resp;
mod server;

pub use proxy::{Proxy, Stranded};
pub use resp::{Client, Reply};
pub use server::{Builder, Server, shared};

/// The image of servers in containers.
pub const IMAGE: &str = "redis:7.2-bookworm";
