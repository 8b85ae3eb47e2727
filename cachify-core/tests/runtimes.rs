//! One handle, used on one runtime after another.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use cachify_core::backend::memory::Memory;
use cachify_core::testing::{Fault, Faulty, Op};
use cachify_core::{Cachify, ErrorKind};
use common::{MILLI, SECOND, builder, key, soon, until};
use redis_fixture::{Proxy, Server};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls once, without a runtime.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn redis(server: &Server) -> Cachify {
    builder(&server.url()).connect_lazy().unwrap()
}

/// Takes `name` in its own task, which the end of the runtime stops.
fn hold_until_the_end(runtime: &Runtime, cachify: &Cachify, name: &str) {
    let (taken, is_taken) = oneshot::channel();
    let (cachify, key) = (cachify.clone(), key(name));
    runtime.spawn(async move {
        let _guard = cachify.lock(&key).acquire().await.unwrap();
        taken.send(()).unwrap();
        pending::<()>().await;
    });
    runtime.block_on(is_taken).unwrap();
}

#[test]
fn l6_a_guard_that_ends_with_its_runtime_is_in_nobodys_way_on_the_next() {
    let server = Server::start();
    let (cachify, other) = (redis(&server), redis(&server));
    for round in 0..5 {
        let first = runtime();
        hold_until_the_end(&first, &cachify, "task");
        let last = cachify.lock(&key("last"));
        first.block_on(async { drop(last.acquire().await.unwrap()) });
        drop(first);
        let second = runtime();
        second.block_on(async {
            for name in ["task", "last"] {
                let guard = cachify.lock(&key(name)).acquire().await;
                drop(guard.unwrap_or_else(|error| panic!("round {round}, {name}: {error}")));
            }
            cachify.lock(&key("any")).is_locked().await.unwrap();
        });
        // Releases also reach keys that the first call of a runtime does not ask for.
        hold_until_the_end(&second, &cachify, "aside");
        drop(second);
        runtime().block_on(async {
            cachify.lock(&key("any")).is_locked().await.unwrap();
            until("released", async || {
                !other.lock(&key("aside")).is_locked().await.unwrap()
            })
            .await;
        });
    }
}

#[test]
fn l6_a_place_in_the_queue_ends_with_its_runtime() {
    let server = Server::start();
    let (cachify, other) = (redis(&server), redis(&server));
    let lives = runtime();
    let guard = lives.block_on(other.lock(&key("door")).acquire()).unwrap();
    let queued = || server.command(&["ZCARD", "test:lock:{door}:queue"]).int();
    let first = runtime();
    let waiter = cachify.lock(&key("door")).wait(60 * SECOND);
    first.spawn(async move { waiter.acquire().await.map(drop) });
    first.block_on(until("queued", async || queued() == 1));
    drop(first);
    lives.block_on(async {
        cachify.lock(&key("any")).is_locked().await.unwrap();
        let start = Instant::now();
        until("gone", async || queued() == 0).await;
        assert!(
            start.elapsed() < 2 * SECOND,
            "nobody remembers it after 5 s"
        );
        guard.release().await.unwrap();
    });
}

#[test]
fn c3_a_lease_that_ends_with_its_runtime_is_given_back_by_the_next_call() {
    let server = Server::start();
    let cachify = redis(&server);
    let row = key("row");
    let first = runtime();
    let (computing, is_computing) = oneshot::channel();
    let cached = cachify.cached(&row);
    first.spawn(async move {
        let compute = async || {
            computing.send(()).unwrap();
            pending::<i32>().await
        };
        cached.get_or_compute(compute).await
    });
    first.block_on(is_computing).unwrap();
    drop(first);
    let start = Instant::now();
    let value = runtime().block_on(soon("a value", async {
        cachify.cached(&row).get_or_compute(async || 2).await
    }));
    assert_eq!(value, 2);
    assert!(start.elapsed() < 2 * SECOND, "the lease ends after 3 s");
}

#[test]
fn s4_close_sends_what_another_runtime_left_behind() {
    let server = Server::start();
    let (cachify, other) = (redis(&server), redis(&server));
    let first = runtime();
    hold_until_the_end(&first, &cachify, "door");
    drop(first);
    runtime().block_on(async {
        cachify.close(5 * SECOND).await.unwrap();
        assert!(!other.lock(&key("door")).is_locked().await.unwrap());
    });
}

#[test]
fn l6_a_release_that_hangs_when_its_runtime_ends_is_sent_again() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let first = runtime();
    let door = cachify.lock(&key("door"));
    first.block_on(async {
        let guard = door.acquire().await.unwrap();
        backend.fail(Op::Release, Fault::Hang);
        drop(guard);
    });
    drop(first);
    backend.heal();
    let second = runtime();
    let guard = second.block_on(door.acquire()).unwrap();
    assert_eq!(backend.calls(Op::Release), 2);
    second.block_on(guard.release()).unwrap();
}

#[test]
fn l6_an_acquire_waits_for_the_release_that_its_own_handle_is_sending() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let door = cachify.lock(&key("door"));
    runtime().block_on(async {
        let guard = door.acquire().await.unwrap();
        let gate = backend.before(Op::Release);
        drop(guard);
        let acquire = tokio::spawn(async move { door.acquire().await.map(drop) });
        until("refused", async || backend.calls(Op::Acquire) == 2).await;
        gate.open();
        acquire.await.unwrap().unwrap();
    });
}

#[test]
fn l6_a_guard_dropped_where_there_is_no_runtime_is_released() {
    let memory = Arc::new(Memory::builder().build());
    let handle = || Cachify::builder().backend(memory.clone()).connect_lazy();
    let (cachify, other) = (handle().unwrap(), handle().unwrap());
    let guard = runtime()
        .block_on(cachify.lock(&key("door")).acquire())
        .unwrap();
    drop(guard);
    let is_locked = runtime().block_on(other.lock(&key("door")).is_locked());
    assert!(!is_locked.unwrap());
}

#[test]
fn l3_a_guard_whose_runtime_ended_is_renewed_from_the_next_call_on() {
    let cachify = Faulty::wrap(&Cachify::memory()).0;
    let lock = cachify.lock(&key("door")).ttl(SECOND);
    let guard = runtime().block_on(lock.acquire()).unwrap();
    runtime().block_on(async {
        let start = Instant::now();
        while start.elapsed() < 1500 * MILLI {
            lock.is_locked().await.unwrap();
            tokio::time::sleep(100 * MILLI).await;
        }
        assert!(!guard.is_lost());
    });
}

/// The connection lives on the runtime that made it.
#[test]
fn l6_a_release_survives_the_end_of_the_runtime_that_connected() {
    let server = Server::start();
    let cachify = redis(&server);
    let door = cachify.lock(&key("door"));
    let (first, second) = (runtime(), runtime());
    let guard = first.block_on(door.acquire()).unwrap();
    drop(first);
    second.block_on(guard.release()).unwrap();
    assert!(!second.block_on(door.is_locked()).unwrap());
}

#[test]
fn l6_a_release_survives_a_runtime_that_ends_while_it_connects() {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    let cachify = builder(&proxy.url()).connect_lazy().unwrap();
    let door = cachify.lock(&key("door"));
    let guard = runtime().block_on(door.acquire()).unwrap();
    // One runtime starts to connect, and another one waits for the connection.
    proxy.hold_replies();
    let first = runtime();
    assert!(
        first
            .block_on(async { poll_once(door.is_locked()) })
            .is_pending()
    );
    let second = runtime();
    second.block_on(async {
        let mut release = Box::pin(guard.release());
        assert!(poll_once(release.as_mut()).is_pending());
        std::thread::spawn(move || drop(first)).join().unwrap();
        proxy.resume();
        release.await.unwrap();
    });
}

#[test]
fn s6_without_a_runtime_there_is_an_error() {
    let server = Server::start();
    let cachify = redis(&server);
    let outside = |error: cachify_core::Error| {
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("outside of a tokio runtime"));
    };
    let fails = |poll: Poll<Result<(), cachify_core::Error>>| match poll {
        Poll::Ready(Err(error)) => outside(error),
        other => panic!("{other:?}"),
    };
    let door = key("door");
    let connect = async || builder(&server.url()).connect().await.map(drop);
    fails(poll_once(connect()));
    for cachify in [Cachify::memory(), cachify.clone()] {
        fails(poll_once(async {
            cachify.lock(&door).acquire().await.map(drop)
        }));
        fails(poll_once(async {
            cachify
                .pool(&door, 1)
                .wait(SECOND)
                .acquire()
                .await
                .map(drop)
        }));
    }
    let connected = redis(&server);
    let connects = runtime();
    connects
        .block_on(connected.lock(&door).is_locked())
        .unwrap();
    for cachify in [cachify, connected] {
        let lock = cachify.lock(&door);
        fails(poll_once(async { lock.is_locked().await.map(drop) }));
        fails(poll_once(async { lock.force_release().await.map(drop) }));
        let cached = cachify.cached(&door);
        fails(poll_once(async { cached.get::<i32>().await.map(drop) }));
        assert_eq!(poll_once(cached.get_or_compute(async || 1)), Poll::Ready(1));
        let Poll::Ready(Err(error)) = poll_once(cachify.reset(&door)) else {
            panic!("a reset outside of a runtime");
        };
        assert_eq!(error.kind(), ErrorKind::Unconfirmed);
        fails(poll_once(cachify.close(Duration::ZERO)));
    }
    // Memory does all of it immediately.
    let memory = Cachify::memory();
    let computed = poll_once(memory.cached(&door).get_or_compute(async || 1));
    assert_eq!(computed, Poll::Ready(1));
    assert!(matches!(
        poll_once(memory.reset(&door)),
        Poll::Ready(Ok(()))
    ));
    assert!(matches!(
        poll_once(memory.close(SECOND)),
        Poll::Ready(Ok(()))
    ));
}
