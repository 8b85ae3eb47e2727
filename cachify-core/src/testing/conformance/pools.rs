//! Pools: P.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::*;

async fn in_use(cachify: &Cachify, key: &Key) -> usize {
    cachify.pool(key, 1).status().await.unwrap().in_use
}

pub async fn p1_never_more_than_max(stage: &Stage) {
    let handles = [stage.handle(), stage.handle()];
    let key = stage.key("vendor");
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let tasks = (0..30).map(|n| {
        let pool = handles[n % 2].pool(&key, 3).wait(30 * SECOND);
        let (inside, most) = (&inside, &most);
        async move {
            let permit = pool.acquire().await.unwrap();
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(5 * MILLI).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            permit.release().await.unwrap();
        }
    });
    soon("all turns", join_all(tasks)).await;
    assert_eq!(most.load(Ordering::SeqCst), 3, "all three, and no fourth");
    assert_eq!(in_use(&handles[0], &key).await, 0);
}

pub async fn p1_every_caller_brings_its_own_max(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("vendor");
    let first = a.pool(&key, 2).acquire().await.unwrap();
    let second = a.pool(&key, 2).acquire().await.unwrap();
    assert_eq!(kind(b.pool(&key, 2).acquire().await), Some(ErrorKind::Full));
    assert_eq!(kind(b.pool(&key, 1).acquire().await), Some(ErrorKind::Full));
    let third = b.pool(&key, 3).acquire().await.unwrap();
    assert_eq!(in_use(&b, &key).await, 3);
    drop((first, second, third));
    until("all are back", async || in_use(&a, &key).await == 0).await;
}

pub async fn p1_a_waiter_is_served_by_its_own_max(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let key = stage.key("vendor");
    let first = a.pool(&key, 2).acquire().await.unwrap();
    let alone = b.pool(&key, 1).wait(30 * SECOND);
    let waiter = tokio::spawn(async move { alone.acquire().await });
    queue_grows_to(&a, SlotKind::Pool, &key, 1).await;
    // No caller overtakes the waiter, and a larger `max` of another caller does not admit it.
    assert_eq!(kind(b.pool(&key, 3).acquire().await), Some(ErrorKind::Full));
    assert_eq!(in_use(&a, &key).await, 1);
    assert!(!waiter.is_finished());
    first.release().await.unwrap();
    let permit = soon("the waiter", waiter).await.unwrap().unwrap();
    assert_eq!(in_use(&a, &key).await, 1);
    permit.release().await.unwrap();
}

pub async fn p1_a_dead_waiter_is_not_in_the_way_of_those_who_accept_more(stage: &Stage) {
    let (a, b) = (stage.handle(), stage.handle());
    let (dead, backend) = stage.faulty();
    let key = stage.key("resized");
    let first = a.pool(&key, 2).acquire().await.unwrap();
    // It wants the pool for itself, and disappears without a release.
    backend.fail(Op::Release, Fault::Hang);
    let alone = dead.pool(&key, 1).wait(30 * SECOND);
    let waiter = tokio::spawn(async move { alone.acquire().await });
    queue_grows_to(&a, SlotKind::Pool, &key, 1).await;
    let full = b.pool(&key, 10).acquire().await;
    assert_eq!(kind(full), Some(ErrorKind::Full), "it lives");
    waiter.abort();
    let _ = waiter.await;
    let start = Instant::now();
    until("the newcomer gets a permit", async || {
        b.pool(&key, 10).acquire().await.is_ok()
    })
    .await;
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    first.release().await.unwrap();
}

pub async fn p2_a_dead_holders_permit_comes_back(stage: &Stage) {
    let (dead, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("vendor");
    backend.fail(Op::Extend, Fault::Hang);
    backend.fail(Op::Release, Fault::Hang);
    let _permit = dead.pool(&key, 1).ttl(SECOND).acquire().await.unwrap();
    let start = Instant::now();
    let next = b.pool(&key, 1).wait(10 * SECOND).acquire().await.unwrap();
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    next.release().await.unwrap();
}

pub async fn p2_a_live_permit_is_renewed_and_knows_its_loss(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("vendor");
    let permit = a.pool(&key, 1).ttl(SECOND).acquire().await.unwrap();
    sleep(2500 * MILLI).await;
    assert!(!permit.is_lost());
    assert_eq!(kind(b.pool(&key, 1).acquire().await), Some(ErrorKind::Full));
    backend.fail(Op::Extend, Fault::Hang);
    let work = permit.run(pending::<()>());
    let error = soon("cut off", work).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    soon("told", permit.lost()).await;
}

pub async fn p2_py18_a_failed_release_does_not_cost_the_result(stage: &Stage) {
    let (a, backend) = stage.faulty();
    let b = stage.handle();
    let key = stage.key("vendor");
    for fault in [Fault::Refuse, Fault::Hang] {
        backend.fail(Op::Release, fault);
        let pool = a.pool(&key, 1);
        assert_eq!(pool.run(async { 7 }).await.unwrap(), 7);
        assert_eq!(a.lock(&key).run(async { 8 }).await.unwrap(), 8);
        assert_eq!(
            a.once(&stage.key("o")).run(async { 9 }).await.unwrap(),
            Some(9)
        );
        backend.heal();
        until("released late", async || in_use(&b, &key).await == 0).await;
        until("released late", async || {
            !b.lock(&key).is_locked().await.unwrap()
        })
        .await;
    }
}

pub async fn p3_py17_waiters_are_served_in_order_and_full_means_full(stage: &Stage) {
    let handles = [stage.handle(), stage.handle()];
    let key = stage.key("vendor");
    let permits = [
        handles[0].pool(&key, 2).acquire().await.unwrap(),
        handles[1].pool(&key, 2).acquire().await.unwrap(),
    ];
    let start = Instant::now();
    let pool = handles[0].pool(&key, 2).wait(50 * MILLI);
    let error = pool.acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(start.elapsed() >= 50 * MILLI);
    until("it leaves the queue", async || {
        waiting(&handles[0], SlotKind::Pool, &key).await == 0
    })
    .await;

    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for n in 0..6 {
        let pool = handles[n % 2].pool(&key, 2).wait(30 * SECOND);
        let order = Arc::clone(&order);
        waiters.push(tokio::spawn(async move {
            let permit = pool.acquire().await.unwrap();
            order.lock().unwrap().push(n);
            permit.release().await.unwrap();
        }));
        queue_grows_to(&handles[0], SlotKind::Pool, &key, n + 1).await;
    }
    let [first, second] = permits;
    first.release().await.unwrap();
    for waiter in waiters {
        soon("the waiters", waiter).await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(in_use(&handles[0], &key).await, 1);
    second.release().await.unwrap();
}

pub async fn p3_py19_a_pool_within_itself_gives_everything_back(stage: &Stage) {
    let cachify = stage.handle();
    let key = stage.key("vendor");
    let pool = cachify.pool(&key, 2);
    let inner = pool.run(async {
        let inner = pool.run(async {
            assert_eq!(in_use(&cachify, &key).await, 2);
            pool.acquire().await.map(drop)
        });
        inner.await.unwrap()
    });
    let third = Box::pin(inner).await.unwrap();
    assert_eq!(kind(third), Some(ErrorKind::Full));
    assert_eq!(in_use(&cachify, &key).await, 0);
}
