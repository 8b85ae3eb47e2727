//! Several keys in one reset or update: C4, C8 and C12.

use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures_util::FutureExt as _;

use super::*;
use crate::backend::Backend as _;
use crate::testing::Faulty;

async fn stored(stage: &Stage, cachify: &Cachify, count: usize) -> Vec<Key> {
    let keys: Vec<_> = (0..count).map(|_| stage.key("row")).collect();
    for key in &keys {
        cachify.cached(key).set(1).await.unwrap();
    }
    keys
}

async fn left(cachify: &Cachify, keys: &[Key]) -> usize {
    let mut left = 0;
    for key in keys {
        left += usize::from(get(cachify, key).await.is_some());
    }
    left
}

async fn get(cachify: &Cachify, key: &Key) -> Option<i32> {
    cachify.cached(key).get::<i32>().await.unwrap()
}

pub async fn c4_a_reset_of_several_keys_resets_all_of_them(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let keys = stored(stage, &b, 300).await;
    let reset = {
        let (a, keys) = (a.clone(), keys.clone());
        tokio::spawn(async move { a.reset(keys.iter().take(299)).await })
    };
    reset.await.unwrap().unwrap();
    assert_eq!(left(&b, &keys).await, 1, "all but the last");
    a.reset(&keys[299..]).await.unwrap();
    assert_eq!(left(&b, &keys).await, 0);
    a.reset([(); 0].map(|()| stage.key("none"))).await.unwrap();
}

pub async fn c4_resets_of_several_keys_do_not_wait_for_one_another(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let keys = stored(stage, &b, 3).await;
    let gate = backend.before(Op::Reset);
    let reset = {
        let keys = keys.clone();
        tokio::spawn(async move { a.reset(&keys).await })
    };
    soon("the first is under way", gate.reached()).await;
    until("the others are done", async || left(&b, &keys).await == 1).await;
    gate.open();
    reset.await.unwrap().unwrap();
    assert_eq!(left(&b, &keys).await, 0);
}

pub async fn c8_of_several_resets_each_that_failed_is_queued_and_counted(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let keys = stored(stage, &b, 3).await;
    // The reset stays at the gate for longer than the backend timeout.
    let gate = backend.before(Op::Reset);
    let error = a.reset(&keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    assert!(error.to_string().contains("1 of 3 resets"), "{error}");
    assert_eq!(error.template(), Some(keys[0].template()));
    gate.open();
    until("it is repeated", async || left(&b, &keys).await == 0).await;

    backend.fail(Op::Reset, Fault::Refuse);
    let error = a.reset([&keys[0], &keys[1]]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    for key in &keys[..2] {
        assert!(a.inner.engine.resets.contains(&a.own(key)));
        assert!(error.to_string().contains(key.template()), "{error}");
    }
    // The handle as it was built, which `close` closes.
    let built = Cachify {
        prefix: None,
        ..a.clone()
    };
    built.close(Duration::ZERO).await.unwrap_err();
    let error = a.reset(&keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotQueued, "{error}");
    assert!(error.to_string().contains("3 of 3 resets"), "{error}");
}

pub async fn c8_what_the_backend_lost_is_reset_again(stage: &Stage) {
    for is_set in [false, true] {
        let (cachify, backend) = stage.faulty();
        let (key, signals) = (stage.key("row"), backend.signals());
        if is_set {
            cachify.cached(&key).set(1).await.unwrap();
        } else {
            cachify.reset(&key).await.unwrap();
        }
        // The old value is back.
        let other = stage.handle();
        other.cached(&key).set(0).await.unwrap();
        assert_eq!(get(&cachify, &key).await, Some(0));

        let (gate, disturbances) = (backend.before(Op::Reset), signals.disturbances());
        assert_eq!(signals.history_lost(), 1);
        assert_eq!(signals.disturbances(), disturbances + 1);
        // At once, although the reset has still to be sent.
        assert_eq!(get(&cachify, &key).await, None);
        let read = cachify.cached(&key);
        assert_eq!(read.get_or_compute(async || 2).await, 2);
        soon("it is sent", gate.reached()).await;
        assert_eq!(get(&other, &key).await, Some(0));
        gate.open();
        let is_done = async || cachify.inner.engine.resets.is_empty();
        until("it is acknowledged", is_done).await;
        assert_eq!(get(&other, &key).await, None);
        assert_eq!(read.get_or_compute(async || 3).await, 3);
        assert_eq!(get(&other, &key).await, Some(3), "it is trusted again");

        // What was repeated may be lost again.
        assert_eq!(signals.history_lost(), 1);
        until("it is acknowledged again", is_done).await;
        assert_eq!(get(&other, &key).await, None);
    }
}

pub async fn c8_no_reader_gets_what_was_lost_while_it_asked(stage: &Stage) {
    // A read asks twice: for the entry, and for the lease, which looks again.
    for op in [Op::Get, Op::Begin] {
        let (cachify, backend) = stage.faulty();
        let key = stage.key("row");
        cachify.reset(&key).await.unwrap();
        let (asked, sent) = (backend.before(op), backend.before(Op::Reset));
        let read = {
            let cached = cachify.cached(&key);
            tokio::spawn(async move { cached.get_or_compute(async || 2).await })
        };
        soon("it asks", asked.reached()).await;
        stage.handle().cached(&key).set(0).await.unwrap();
        backend.signals().history_lost();
        asked.open();
        assert_eq!(read.await.unwrap(), 2, "{op:?}");
        sent.open();
    }
}

pub async fn c8_every_handle_over_a_backend_repeats_its_own_resets(stage: &Stage) {
    let handle = stage.handle();
    let ((a, backend), (b, _)) = (Faulty::wrap(&handle), Faulty::wrap(&handle));
    let keys = stored(stage, &stage.handle(), 2).await;
    a.reset(&keys[0]).await.unwrap();
    b.reset(&keys[1]).await.unwrap();
    let signals = backend.signals();
    assert_eq!(signals.history_lost(), 2);
    let resets = [&a, &b].map(|handle| &handle.inner.engine.resets);
    for (handle, (resets, key)) in [&a, &b].into_iter().zip(resets.into_iter().zip(&keys)) {
        assert!(resets.contains(&handle.own(key)));
    }
    until("they are acknowledged", async || {
        resets.into_iter().all(|resets| resets.is_empty())
    })
    .await;
    assert_eq!(left(&a, &keys).await, 0);
}

pub async fn c12_a_reset_of_several_keys_that_was_polled_once_happens(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let keys = stored(stage, &b, 300).await;
    let gate = backend.before(Op::Reset);
    {
        let mut reset = pin!(a.reset(&keys));
        assert!(poll_once(reset.as_mut()).is_pending());
    }
    gate.open();
    until("all are gone", async || left(&b, &keys).await == 0).await;
}

pub async fn c12_an_update_of_several_keys_resets_them_however_it_ends(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let keys = stored(stage, &b, 2).await;
    let [one, two] = &keys[..] else {
        unreachable!("two were made")
    };
    let again = async || {
        until("both are gone", async || left(&b, &keys).await == 0).await;
        // A queued reset must not interfere with the next round.
        until("none is queued", async || a.inner.engine.resets.is_empty()).await;
        for key in &keys {
            b.cached(key).set(1).await.unwrap();
        }
    };
    assert_eq!(a.update([one, two], async { 7 }).await, 7);
    again().await;
    let failed = a.update(&keys, async { Err::<(), _>("no") }).await;
    assert_eq!(failed, Err("no"));
    again().await;
    {
        let mut update = pin!(a.update(keys.clone(), std::future::pending::<()>()));
        assert!(poll_once(update.as_mut()).is_pending());
    }
    again().await;
    let update = a.update([one, two], async { panic!("on purpose") });
    let panicked = AssertUnwindSafe(update).catch_unwind().await;
    assert!(panicked.is_err());
    again().await;
}
