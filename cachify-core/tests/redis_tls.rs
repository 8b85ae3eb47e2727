//! TLS: what can be tried without a certificate that the world trusts.
#![cfg(all(feature = "tls", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use redis_fixture::Server;

#[tokio::test]
async fn a_server_without_tls_is_an_error() {
    let server = Server::start();
    let url = server.url().replace("redis://", "rediss://");
    let error = common::builder(&url).connect().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(!error.to_string().contains("runtime"), "{error}");
}
