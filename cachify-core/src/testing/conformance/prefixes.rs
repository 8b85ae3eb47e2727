//! Handles with prefixes: K3 and S4.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join;

use super::*;

async fn get(cachify: &Cachify, key: &Key) -> Option<i32> {
    cachify.cached(key).get().await.unwrap()
}

pub async fn k3_handles_with_different_prefixes_never_meet(stage: &Stage) {
    let built = stage.handle();
    let [a, b] = ["tenant-a", "tenant-b"].map(|prefix| built.with_prefix(prefix).unwrap());
    let key = stage.key("x");
    for (cachify, value) in [(&built, 0), (&a, 1), (&b, 2)] {
        cachify.cached(&key).set(value).await.unwrap();
    }
    a.reset([&key, &stage.key("y")]).await.unwrap();
    assert_eq!(get(&a, &key).await, None);
    assert_eq!(get(&b, &key).await, Some(2));
    b.update(&key, async {}).await;
    assert_eq!(get(&b, &key).await, None);
    assert_eq!(get(&built, &key).await, Some(0));

    // No caller joins a computation of another prefix.
    let (entered, gate) = (AtomicBool::new(false), tokio::sync::Notify::new());
    let cached = a.cached(&key);
    let slow = cached.get_or_compute(async || {
        entered.store(true, Ordering::Release);
        gate.notified().await;
        1
    });
    let other = async {
        until("it is computed", async || entered.load(Ordering::Acquire)).await;
        let value = b.cached(&key).get_or_compute(async || 2).await;
        gate.notify_one();
        value
    };
    let values = soon("both", join(slow, other)).await;
    assert_eq!(values, (1, 2));

    let guard = a.lock(&key).acquire().await.unwrap();
    assert_eq!(guard.key(), &key);
    assert_eq!(kind(a.lock(&key).acquire().await), Some(ErrorKind::Held));
    let permit = a.pool(&key, 1).acquire().await.unwrap();
    for other in [&b, &built] {
        assert!(!other.lock(&key).is_locked().await.unwrap());
        assert!(!other.lock(&key).force_release().await.unwrap());
        let guard = other.lock(&key).acquire().await.unwrap();
        guard.release().await.unwrap();
        let permit = other.pool(&key, 1).acquire().await.unwrap();
        permit.release().await.unwrap();
    }
    // A key returned by a guard works like any other.
    b.cached(guard.key()).set(3).await.unwrap();
    assert_eq!(get(&b, &key).await, Some(3));
    assert_eq!(get(&a, &key).await, Some(1));
    permit.release().await.unwrap();
    guard.release().await.unwrap();
}

pub async fn k3_a_prefix_is_one_place_for_all_its_handles(stage: &Stage) {
    let tenant = || stage.handle().with_prefix("tenant-a").unwrap();
    let (a, b) = (tenant(), tenant());
    let again = b.with_prefix("other").unwrap();
    let again = again.with_prefix("tenant-a").unwrap();
    let key = stage.key("x");
    a.cached(&key).set(1).await.unwrap();
    for other in [&b, &again] {
        assert_eq!(get(other, &key).await, Some(1));
    }
    b.reset(&key).await.unwrap();
    assert_eq!(get(&a, &key).await, None);

    // In order, and woken by a message.
    let guard = a.lock(&key).acquire().await.unwrap();
    let mut waiters = Vec::new();
    for cachify in [&b, &again, &a] {
        let lock = cachify.lock(&key).wait(20 * SECOND);
        waiters.push(tokio::spawn(async move { lock.acquire().await.unwrap() }));
        queue_grows_to(&a, SlotKind::Lock, &key, waiters.len()).await;
    }
    guard.release().await.unwrap();
    for waiter in waiters {
        let guard = soon("its turn", waiter).await.unwrap();
        assert_eq!(
            kind(again.lock(&key).acquire().await),
            Some(ErrorKind::Held)
        );
        guard.release().await.unwrap();
    }
}

pub async fn s4_a_handle_with_a_prefix_waits_for_its_own_and_closes_nothing(stage: &Stage) {
    let (built, backend) = stage.faulty();
    let built = Cachify {
        prefix: None,
        ..built
    };
    let [a, b] = ["tenant-a", "tenant-b"].map(|prefix| built.with_prefix(prefix).unwrap());
    let key = stage.key("x");
    a.cached(&key).set(1).await.unwrap();
    let guard = a.lock(&key).acquire().await.unwrap();
    backend.fail(Op::Reset, Fault::Refuse);
    let reset = a.reset(&key).await;
    assert_eq!(kind(reset), Some(ErrorKind::Unconfirmed));
    // Pending work outlives the handle, and does not concern other prefixes.
    drop(a);
    b.close(SECOND).await.unwrap();
    let again = built.with_prefix("tenant-a").unwrap();
    assert_eq!(
        kind(again.close(20 * MILLI).await),
        Some(ErrorKind::Timeout)
    );
    backend.heal();
    again.close(10 * SECOND).await.unwrap();
    assert_eq!(get(&again, &key).await, None);
    for cachify in [&again, &b, &built] {
        let other = stage.key("y");
        let guard = cachify.lock(&other).acquire().await.unwrap();
        guard.release().await.unwrap();
    }
    drop(guard);
    built.close(10 * SECOND).await.unwrap();
    for cachify in [&again, &b, &built] {
        let lock = cachify.lock(&key).acquire().await;
        assert_eq!(kind(lock), Some(ErrorKind::Unavailable));
    }
    let other = stage.handle().with_prefix("tenant-a").unwrap();
    assert!(!other.lock(&key).is_locked().await.unwrap());
}
