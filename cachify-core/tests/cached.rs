//! The read path in one process: one computation, take-over, errors, storability.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cachify_core::clock::Clock;
use cachify_core::{Cachify, Key, KeyTemplate, Ttl};
use futures_util::future::{join_all, poll_fn};
use tokio::sync::{Barrier, Notify, Semaphore};

fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

fn paused() -> Cachify {
    Cachify::builder()
        .memory()
        .clock(Clock::test())
        .connect_lazy()
        .unwrap()
}

/// Polls `future` once and returns whether it is ready.
fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn c1_a_ttl_of_500_ms_expires_after_500_ms() {
    let cachify = paused();
    let cached = cachify
        .cached(&key("short"))
        .ttl(Duration::from_millis(500));
    assert_eq!(cached.get_or_compute(async || 1).await, 1);
    tokio::time::advance(Duration::from_millis(499)).await;
    assert_eq!(cached.get_or_compute(async || 2).await, 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(cached.get_or_compute(async || 3).await, 3);
}

#[tokio::test(start_paused = true)]
async fn c1_s24_what_expired_during_a_suspend_is_no_hit() {
    let clock = Clock::test();
    let builder = Cachify::builder().memory().clock(clock.clone());
    let cachify = builder.connect_lazy().unwrap();
    let cached = cachify.cached(&key("row")).ttl(Duration::from_secs(30));
    let other = cachify.cached(&key("other"));
    cached.set(1).await.unwrap();
    // No timer fires, so nothing was swept.
    let slept = other.get_or_compute(async || {
        clock.advance(Duration::from_mins(1));
        7
    });
    assert_eq!(slept.await, 7);
    assert_eq!(cached.get::<i32>().await.unwrap(), None);
    assert_eq!(cached.get_or_compute(async || 2).await, 2);
    assert_eq!(other.get().await.unwrap(), Some(7), "nobody reset it");
}

#[tokio::test(start_paused = true)]
async fn c1_never_does_not_expire_and_zero_is_not_stored() {
    let cachify = paused();
    let never = cachify.cached(&key("never")).ttl(Ttl::NEVER);
    never.get_or_compute(async || 1).await;
    tokio::time::advance(Duration::from_hours(100_000)).await;
    assert_eq!(never.get_or_compute(async || 2).await, 1);

    let zero = cachify.cached(&key("zero")).ttl(Duration::ZERO);
    zero.get_or_compute(async || 1).await;
    assert_eq!(zero.get_or_compute(async || 2).await, 2);
}

#[tokio::test]
async fn c2_concurrent_callers_run_one_computation() {
    let cachify = Cachify::memory();
    let runs = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let (cachify, runs, gate) = (cachify.clone(), Arc::clone(&runs), Arc::clone(&gate));
            tokio::spawn(async move {
                cachify
                    .cached(&key("one"))
                    .get_or_compute(async || {
                        let run = runs.fetch_add(1, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                        run
                    })
                    .await
            })
        })
        .collect();
    while runs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    gate.add_permits(1000);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 0);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// Returns `Pending` `n` times, waking itself.
async fn awaits(n: usize) {
    for _ in 0..n {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn c2_s34_a_leader_cancelled_at_any_await_is_replaced_at_once() {
    const AWAITS: usize = 6;
    // The leader needs one poll to start and one for each await of its computation.
    for polls in 1..=AWAITS {
        let cachify = paused();
        let runs = AtomicUsize::new(0);
        let cached = cachify.cached(&key("relay"));
        let call = || {
            cached.get_or_compute(async || {
                runs.fetch_add(1, Ordering::SeqCst);
                awaits(AWAITS).await;
                7
            })
        };
        {
            let mut leader = Box::pin(call());
            assert!(poll_once(leader.as_mut()).is_pending());
            let mut waiters: Vec<_> = (0..48).map(|_| Box::pin(call())).collect();
            for waiter in &mut waiters {
                assert!(poll_once(waiter.as_mut()).is_pending());
            }
            for _ in 1..polls {
                assert!(poll_once(leader.as_mut()).is_pending());
            }
            drop(leader);
            let answers = tokio::time::timeout(Duration::from_secs(1), join_all(waiters))
                .await
                .expect("nobody hangs");
            assert_eq!(answers, [7; 48]);
        }
        assert_eq!(
            runs.load(Ordering::SeqCst),
            2,
            "cancelled after {polls} polls"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn c2_a_waiter_that_was_promoted_and_cancelled_passes_it_on() {
    let cachify = paused();
    let cached = cachify.cached(&key("chain"));
    let mut leader = Box::pin(cached.get_or_compute(pending::<i32>));
    assert!(poll_once(leader.as_mut()).is_pending());
    let mut promoted = Box::pin(cached.get_or_compute(pending::<i32>));
    assert!(poll_once(promoted.as_mut()).is_pending());
    let mut last = pin!(cached.get_or_compute(async || 3));
    assert!(poll_once(last.as_mut()).is_pending());
    // The promotion is on its way to the second caller, which is dropped without looking at it.
    drop(leader);
    drop(promoted);
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(1), last)
            .await
            .expect("not left behind"),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn c2_errors_are_shared_where_they_can_be() {
    let cachify = paused();
    let runs = AtomicUsize::new(0);
    let shared = cachify.cached(&key("failing")).share_errors();
    let calls = (0..50).map(|_| {
        shared.get_or_try_compute(async || {
            runs.fetch_add(1, Ordering::SeqCst);
            awaits(3).await;
            Err::<i32, String>("down".into())
        })
    });
    for answer in join_all(calls).await {
        assert_eq!(answer, Err("down".to_owned()));
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn c2_c5_options_work_in_any_order() {
    let cachify = paused();
    let runs = AtomicUsize::new(0);
    let cached = cachify
        .cached(&key("any-order"))
        .share_errors()
        .cache_if(Option::is_some)
        .weigh(|_: &Option<i32>| 1)
        .ttl("2s");
    let calls = (0..5).map(|_| {
        cached.get_or_try_compute(async || {
            runs.fetch_add(1, Ordering::SeqCst);
            awaits(3).await;
            Err::<Option<i32>, _>("down")
        })
    });
    assert_eq!(join_all(calls).await, [Err("down"); 5]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    assert_eq!(cached.get_or_compute(async || None).await, None);
    assert_eq!(cached.get_or_compute(async || Some(1)).await, Some(1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(cached.get_or_compute(async || Some(2)).await, Some(1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(cached.get_or_compute(async || Some(3)).await, Some(3));

    // The TTL from `ttl_with` wins, whether it is set before or after the fixed one.
    let by_value = |_: &i32| "2s";
    let cached = cachify.cached(&key("by-value"));
    for cached in [
        cached.clone().ttl_with(by_value).ttl("1s"),
        cached.ttl("1s").ttl_with(by_value),
    ] {
        assert_eq!(cached.get_or_compute(async || 1).await, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cached.get_or_compute(async || 2).await, 1);
        cached.reset().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn c2_waiters_of_a_failed_leader_try_1_2_4_at_a_time() {
    #[derive(Debug)]
    struct NotClone;

    let cachify = paused();
    let (running, most) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let cached = cachify.cached(&key("doubling"));
    let calls = (0..16).map(|_| {
        cached.get_or_try_compute(async || {
            running.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            most.lock().unwrap().push(running.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(10)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Err::<i32, NotClone>(NotClone)
        })
    });
    assert!(join_all(calls).await.iter().all(Result::is_err));
    // The leader, then 1, 2, 4, 8: each run sees the number of runs that started with it.
    assert_eq!(
        *most.lock().unwrap(),
        [1, 1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8]
    );
}

#[tokio::test(start_paused = true)]
async fn c2_a_panic_reaches_the_leader_alone() {
    let cachify = paused();
    let other = cachify.clone();
    let started = Arc::new(Notify::new());
    let go = Arc::new(Notify::new());
    let (started2, go2) = (Arc::clone(&started), Arc::clone(&go));
    let leader = tokio::spawn(async move {
        other
            .cached(&key("panics"))
            .get_or_compute(async || -> i32 {
                started2.notify_one();
                go2.notified().await;
                panic!("on purpose")
            })
            .await
    });
    started.notified().await;
    let cached = cachify.cached(&key("panics"));
    let mut waiter = pin!(cached.get_or_compute(async || 5));
    assert!(poll_once(waiter.as_mut()).is_pending());
    go.notify_one();
    assert_eq!(waiter.await, 5);
    assert!(leader.await.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn c2_a_leader_nobody_polls_does_not_hang_the_others() {
    let cachify = paused();
    let cached = cachify.cached(&key("asleep"));
    let mut leader = Box::pin(cached.get_or_compute(async || 1));
    // Leads, and is never polled again: its computation awaits once.
    let mut stuck = Box::pin(cached.get_or_compute(async || {
        tokio::task::yield_now().await;
        2
    }));
    assert!(poll_once(stuck.as_mut()).is_pending());
    assert!(poll_once(leader.as_mut()).is_pending());
    let start = tokio::time::Instant::now();
    assert_eq!(leader.await, 1);
    assert_eq!(
        start.elapsed(),
        Duration::from_secs(30),
        "the default `compute_wait`"
    );
    assert_eq!(cached.get::<i32>().await.unwrap(), Some(1));
    assert_eq!(stuck.await, 2);
}

#[tokio::test(start_paused = true)]
async fn c4_reset_beats_a_computation_in_flight() {
    let cachify = paused();
    let cached = cachify.cached(&key("row"));
    let (read, answer) = (Notify::new(), Notify::new());
    let mut old = pin!(cached.get_or_compute(async || {
        read.notify_one();
        answer.notified().await;
        "old".to_owned()
    }));
    assert!(poll_once(old.as_mut()).is_pending());
    read.notified().await;

    cachify.reset(&key("row")).await.unwrap();
    // A caller that comes after the reset does not join the flight that began before it.
    let after = cached.get_or_compute(async || "new".to_owned());
    assert_eq!(after.await, "new");
    answer.notify_one();
    assert_eq!(
        old.await,
        "old",
        "the leader's own read is older than the reset"
    );
    assert_eq!(
        cached.get::<String>().await.unwrap().as_deref(),
        Some("new")
    );
}

#[tokio::test(start_paused = true)]
async fn c4_set_beats_a_computation_in_flight() {
    let cachify = paused();
    let cached = cachify.cached(&key("row"));
    let answer = Notify::new();
    let mut old = pin!(cached.get_or_compute(async || {
        answer.notified().await;
        1
    }));
    assert!(poll_once(old.as_mut()).is_pending());
    cached.set(2).await.unwrap();
    answer.notify_one();
    assert_eq!(old.await, 1);
    assert_eq!(cached.get::<i32>().await.unwrap(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn c5_ok_and_none_are_stored_err_is_not() {
    let cachify = paused();
    let rows = cachify.cached(&key("absent"));
    assert_eq!(
        rows.get_or_try_compute(async || Ok::<_, ()>(None::<i32>))
            .await,
        Ok(None)
    );
    assert_eq!(
        rows.get_or_try_compute(async || Ok::<_, ()>(Some(1))).await,
        Ok(None),
        "an absent row is a value"
    );

    let failing = cachify.cached(&key("failing"));
    assert_eq!(
        failing
            .get_or_try_compute(async || Err::<i32, _>("no"))
            .await,
        Err("no")
    );
    assert_eq!(
        failing.get_or_try_compute(async || Ok::<_, &str>(1)).await,
        Ok(1)
    );
}

#[tokio::test(start_paused = true)]
async fn c5_cache_if_and_ttl_with_decide_by_value() {
    let cachify = paused();
    let some = cachify
        .cached(&key("some"))
        .cache_if(|row: &Option<i32>| row.is_some());
    assert_eq!(some.get_or_compute(async || None).await, None);
    assert_eq!(some.get_or_compute(async || Some(1)).await, Some(1));
    assert_eq!(some.get_or_compute(async || Some(2)).await, Some(1));

    let by_value = cachify
        .cached(&key("by-value"))
        .ttl_with(|seconds: &u64| Duration::from_secs(*seconds));
    by_value.get_or_compute(async || 2).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(by_value.get_or_compute(async || 9).await, 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(by_value.get_or_compute(async || 9).await, 9);
}

#[tokio::test(start_paused = true)]
async fn c5_what_is_not_stored_is_not_handed_on_and_waiters_run_at_once() {
    let cachify = paused();
    let cached = cachify.cached(&key("cookies")).cache_if(|_: &usize| false);
    let runs = AtomicUsize::new(0);
    let calls = (0..50).map(|_| {
        cached.get_or_compute(async || {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
            run
        })
    });
    let start = tokio::time::Instant::now();
    let mut answers = join_all(calls).await;
    assert_eq!(
        start.elapsed(),
        Duration::from_millis(200),
        "the first one, then all others in parallel"
    );
    answers.sort_unstable();
    answers.dedup();
    assert_eq!(answers.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn c6_another_type_under_the_key_is_a_miss() {
    let cachify = paused();
    cachify
        .cached(&key("shared"))
        .get_or_compute(async || 1_i32)
        .await;
    assert_eq!(
        cachify
            .cached(&key("shared"))
            .get_or_compute(async || "text".to_owned())
            .await,
        "text"
    );
    assert_eq!(
        cachify.cached(&key("shared")).get::<i32>().await.unwrap(),
        None
    );
}

#[tokio::test(start_paused = true)]
async fn c12_s8_a_reset_that_was_polled_once_happens() {
    let cachify = paused();
    let cached = cachify.cached(&key("row"));
    cached.set(1).await.unwrap();
    {
        let key = key("row");
        let mut reset = pin!(cachify.reset(&key));
        let _ = poll_once(reset.as_mut());
    }
    assert_eq!(cached.get::<i32>().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn c12_update_resets_on_ok_err_panic_and_cancel() {
    let cachify = paused();
    let row = key("row");
    let cached = cachify.cached(&row);

    cached.set(1).await.unwrap();
    assert_eq!(cachify.update(&row, async { Ok::<_, ()>(2) }).await, Ok(2));
    assert_eq!(cached.get::<i32>().await.unwrap(), None);

    cached.set(1).await.unwrap();
    assert_eq!(
        cachify
            .update(&row, async { Err::<i32, _>("constraint") })
            .await,
        Err("constraint")
    );
    assert_eq!(cached.get::<i32>().await.unwrap(), None);

    cached.set(1).await.unwrap();
    let other = cachify.clone();
    let panicked = tokio::spawn(async move {
        other
            .update(&key("row"), async { panic!("on purpose") })
            .await
    });
    assert!(panicked.await.is_err());
    let_background_work_run().await;
    assert_eq!(cached.get::<i32>().await.unwrap(), None);

    // s35: cancelled between its database update and its reset.
    cached.set(1).await.unwrap();
    {
        let mut update = pin!(cachify.update(&row, pending::<()>()));
        assert!(poll_once(update.as_mut()).is_pending());
    }
    let_background_work_run().await;
    assert_eq!(cached.get::<i32>().await.unwrap(), None);
}

async fn let_background_work_run() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c2_many_threads_many_keys_one_computation_each() {
    let cachify = Cachify::memory();
    let runs = Arc::new([const { AtomicUsize::new(0) }; 32]);
    let start = Arc::new(Barrier::new(64));
    let callers: Vec<_> = (0..64)
        .map(|caller| {
            let (cachify, runs, start) = (cachify.clone(), Arc::clone(&runs), Arc::clone(&start));
            tokio::spawn(async move {
                let template = KeyTemplate::parse("k-{n}").unwrap();
                start.wait().await;
                for round in 0..32 {
                    let n = (round + caller) % 32;
                    let key = template.render(&[&n]);
                    let value = cachify
                        .cached(&key)
                        .get_or_compute(async || {
                            runs[n].fetch_add(1, Ordering::SeqCst);
                            awaits(2).await;
                            n
                        })
                        .await;
                    assert_eq!(value, n);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(runs.iter().all(|run| run.load(Ordering::SeqCst) == 1));
}

#[tokio::test]
async fn s4_dropping_a_read_leaves_nothing_behind() {
    let cachify = Cachify::memory();
    let cached = cachify.cached(&key("gone"));
    {
        let mut read = pin!(cached.get_or_compute(pending::<i32>));
        assert!(poll_once(read.as_mut()).is_pending());
    }
    let mut next = pin!(cached.get_or_compute(async || 1));
    // No other caller computes it, so the next caller does, at once or as soon as the lease is
    // released.
    let value =
        tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| next.as_mut().poll(cx))).await;
    assert_eq!(value.expect("the lease was given back"), 1);
    cachify.close(Duration::from_secs(1)).await.unwrap();
}
