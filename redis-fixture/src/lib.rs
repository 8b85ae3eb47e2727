//! Real Redis servers for tests, and a network in front of them that fails on demand.
//!
//! All functions block and need no runtime, so they work in `#[test]` and `#[tokio::test]` alike.
//! If a server can't be started, they panic with installation advice: a test that needs Redis never
//! passes without one.
//!
//! ```
//! let server = redis_fixture::Server::start();
//! server.command(&["SET", "greeting", "hello"]);
//! assert_eq!(server.command(&["GET", "greeting"]).text(), "hello");
//!
//! let proxy = redis_fixture::Proxy::start(&server.url());
//! proxy.black_hole(); // requests to `proxy.url()` now hang
//! proxy.resume();
//! ```
//!
//! With feature `tls`, `Tls` gives servers certificates of a throwaway authority.
//!
//! The server is the first of these that exists: for [`shared`] only, the one that
//! `CACHIFY_TEST_REDIS_URL` names; the program that `CACHIFY_REDIS_SERVER` names; `redis-server` or
//! `valkey-server` from `PATH`; with feature `containers`, a container of the image that
//! `CACHIFY_REDIS_IMAGE` names (default: [`IMAGE`]). Unix only.
//!
//! A server ends, and its files go, with its handle and with the process. Its ports belong to it
//! until then: no other fixture of this machine takes them, while it is killed neither.

// If a fixture can't do its work, the right response is to fail the test.
#![allow(clippy::expect_used)]

#[cfg(feature = "containers")]
mod container;
mod net;
mod process;
mod proxy;
mod resp;
mod server;
#[cfg(feature = "tls")]
mod tls;

pub use process::program;
pub use proxy::{Proxy, Stranded};
pub use resp::{Client, Reply};
pub use server::{Builder, Server, shared};
#[cfg(feature = "tls")]
pub use tls::{Authority, Identity, Tls, TlsProxy};

/// The default image for servers in containers.
pub const IMAGE: &str = "redis:7.2-bookworm";
