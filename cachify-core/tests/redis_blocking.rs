//! Functions that are not async, over Redis, inside and outside of runtimes.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Instant;

use cachify_core::{Cachify, Error, ErrorKind, blocking, cached, locked};
use common::{SECOND, builder, connect, key};
use redis_fixture::{Proxy, Server};
use tokio::runtime::Builder;

#[locked(key = "door", with = cachify)]
fn lock(cachify: &Cachify) -> Result<u8, Error> {
    let _ = cachify;
    Ok(1)
}

#[cached(key = "row", with = cachify)]
fn row(cachify: &Cachify) -> u8 {
    let _ = cachify;
    2
}

#[tokio::test]
async fn s6_a_call_that_blocks_its_own_connections_runtime_says_so() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    // Repeatedly, regardless of anything that the first one left behind.
    for _ in 0..3 {
        let error = lock(&cachify).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.to_string().contains("spawn_blocking"), "{error}");
    }
    assert_eq!(row(&cachify), 2);
    // The recommended alternative.
    let called = cachify.clone();
    let call = tokio::task::spawn_blocking(move || lock(&called));
    assert_eq!(call.await.unwrap().unwrap(), 1);
    cachify
        .lock(&key("door"))
        .acquire()
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
}

#[tokio::test]
async fn s6_a_hung_server_is_not_taken_for_a_blocked_runtime() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = connect(&proxy.url()).await;
    proxy.black_hole();
    let call = tokio::task::spawn_blocking(move || lock(&cachify));
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[test]
fn l1_a_worker_of_several_may_be_blocked() {
    let server = Server::start();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let cachify = connect(&server.url()).await;
        for _ in 0..20 {
            let cachify = cachify.clone();
            let call = tokio::spawn(async move { (lock(&cachify), row(&cachify)) });
            let (locked, row) = call.await.unwrap();
            assert_eq!((locked.unwrap(), row), (1, 2));
        }
    });
}

#[test]
fn l1_without_a_runtime_and_after_the_end_of_one() {
    let server = Server::start();
    let cachify = builder(&server.url()).connect_lazy().unwrap();
    let first = Builder::new_current_thread().enable_all().build().unwrap();
    let guard = first
        .block_on(cachify.lock(&key("door")).acquire())
        .unwrap();
    drop(first);
    drop(guard);
    assert_eq!(lock(&cachify).unwrap(), 1);
    assert_eq!(row(&cachify), 2);
    let start = Instant::now();
    blocking::block_on(cachify.close(5 * SECOND)).unwrap();
    assert!(start.elapsed() < 5 * SECOND);
}
