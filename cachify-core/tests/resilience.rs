//! What a handle does about a backend that fails, beyond what every backend must show.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use cachify_core::testing::{Fault, Faulty, Op};
use cachify_core::{Cachify, ErrorKind, Key, KeyTemplate};
use tokio::runtime::{Builder, Runtime};

fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

#[test]
fn c7_a_probe_that_ended_with_its_runtime_is_followed_by_another() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    let key = key("row");
    let first = runtime();
    first.block_on(async {
        backend.fail_all(Fault::Refuse);
        for _ in 0..3 {
            cachify.cached(&key).get_or_compute(async || 1).await;
        }
    });
    drop(first);
    backend.heal();
    runtime().block_on(async {
        for _ in 0..10 {
            cachify.cached(&key).get_or_compute(async || 2).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(cachify.cached(&key).peek().await.unwrap(), Some(2));
    });
}

#[tokio::test(start_paused = true)]
async fn c7_what_was_never_asked_for_is_not_given_back() {
    let (cachify, backend) = Faulty::wrap(&Cachify::memory());
    backend.fail_all(Fault::Refuse);
    let read = async || cachify.cached(&key("row")).get_or_compute(async || 1).await;
    while cachify
        .cached(&key("row"))
        .peek::<i32>()
        .await
        .unwrap_err()
        .kind()
        != ErrorKind::Unavailable
        || backend.calls(Op::Get) < 3
    {}
    let (begins, confirms) = (backend.calls(Op::Begin), backend.calls(Op::Confirm));
    for _ in 0..100 {
        assert_eq!(read().await, 1);
        tokio::task::yield_now().await;
    }
    assert_eq!(backend.calls(Op::Begin), begins, "it is left alone");
    assert_eq!(backend.calls(Op::Confirm), confirms);
}
