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
//! [`Cluster`] and [`Sentinels`] start groups of servers, and both can stand behind proxies:
//!
//! ```
//! use redis_fixture::{Cluster, Failover, Sentinels};
//!
//! let cluster = Cluster::builder().proxied().start();
//! let serving = cluster.node_of("greeting");
//! cluster.nodes()[serving].proxy().cut(); // the clients of one node lose their connections
//! let replica = cluster.replica_of(serving);
//! cluster.promote(replica, Failover::Graceful);
//! assert_eq!(cluster.node_of("greeting"), replica);
//!
//! let sentinels = Sentinels::start();
//! let promoted = sentinels.kill_master();
//! assert_eq!(sentinels.master(), promoted);
//! ```
//!
//! With feature `tls`, `Tls` gives servers of each kind certificates of a throwaway authority.
//!
//! The server is the first of these that exists: for [`shared`] only, the one that
//! `CACHIFY_TEST_REDIS_URL` names; the program that `CACHIFY_REDIS_SERVER` names; `redis-server` or
//! `valkey-server` from `PATH`; with feature `containers`, a container of the image that
//! `CACHIFY_REDIS_IMAGE` names (default: [`IMAGE`]). Groups need a program, of Redis 7.0 or any
//! Valkey. Unix only.
//!
//! A server ends with its handle or with the process, whichever comes first, and its files are
//! removed. Until then no other fixture of this machine takes its ports, even while it is killed.

// If a fixture can't do its work, the right response is to fail the test.
#![allow(clippy::expect_used)]

mod cluster;
#[cfg(feature = "containers")]
mod container;
mod net;
mod process;
mod proxy;
mod resp;
mod sentinel;
mod server;
#[cfg(feature = "tls")]
mod tls;
mod wait;

pub use cluster::{Cluster, ClusterBuilder, Failover, Migration};
pub use process::program;
pub use proxy::{Proxy, Stranded};
pub use resp::{Client, Reply};
pub use sentinel::{Sentinels, SentinelsBuilder};
pub use server::{Builder, Server, shared};
#[cfg(feature = "tls")]
pub use tls::{Authority, Identity, Tls, TlsProxy};

/// The default image for servers in containers.
pub const IMAGE: &str = "redis:7.2-bookworm";
