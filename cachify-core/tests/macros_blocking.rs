//! The attributes on functions that are not async.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use cachify_core::{Cachify, Error, ErrorKind, blocking, cached, key, locked, once, pooled};

#[cached(key = "square-{id}", with = cachify)]
fn square(cachify: &Cachify, runs: &AtomicUsize, id: u64, local: &Rc<u64>) -> Result<u64, String> {
    let _ = cachify;
    if id > 1000 {
        return Err("too large".to_owned());
    }
    runs.fetch_add(1, Ordering::SeqCst);
    Ok(id * id + **local)
}

fn squares_are_cached() {
    let cachify = Cachify::memory();
    let runs = AtomicUsize::new(0);
    // The body runs on this thread, with its thread-local values.
    let local = Rc::new(0);
    assert_eq!(square(&cachify, &runs, 3, &local), Ok(9));
    assert_eq!(square(&cachify, &runs, 3, &local), Ok(9));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(square::get(&cachify, &3).unwrap(), Some(9));
    square::reset(&cachify, &3).unwrap();
    assert_eq!(square::get(&cachify, &3).unwrap(), None);
    square::set(&cachify, &3, 1).unwrap();
    assert_eq!(square(&cachify, &runs, 3, &local), Ok(1));
    assert!(square(&cachify, &runs, 1001, &local).is_err());
}

#[test]
fn c5_sync_functions_are_cached_without_a_runtime() {
    squares_are_cached();
}

#[tokio::test]
async fn c5_sync_functions_are_cached_inside_a_runtime() {
    squares_are_cached();
}

#[test]
fn c2_threads_share_one_computation() {
    #[cached(key = "shared", with = cachify)]
    fn shared(cachify: &Cachify, runs: &AtomicUsize, go: &Barrier) -> usize {
        let _ = cachify;
        go.wait();
        runs.fetch_add(1, Ordering::SeqCst)
    }

    let cachify = Cachify::memory();
    let runs = AtomicUsize::new(0);
    let go = Barrier::new(2);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| shared(&cachify, &runs, &go)))
            .collect();
        go.wait();
        for call in calls {
            assert_eq!(call.join().unwrap(), 0);
        }
    });
}

#[locked(key = "slow", wait = "30s", with = cachify)]
fn slow(cachify: &Cachify, inside: &AtomicUsize) -> Result<(), Error> {
    let _ = cachify;
    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
    thread::yield_now();
    inside.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

#[test]
fn l1_threads_wait_for_each_other() {
    let cachify = Cachify::memory();
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| slow(&cachify, &inside).unwrap());
        }
    });
    assert!(!slow::is_locked(&cachify).unwrap());
}

#[once(key = "once-{id}", on_locked = 0, on_unavailable = 0, with = cachify)]
#[pooled(key = "pool", max = 1, on_full = 1, on_unavailable = 0, with = cachify)]
fn stacked(cachify: &Cachify, id: u8) -> usize {
    let _ = id;
    2 + stacked::in_use(cachify).unwrap()
}

#[test]
fn sync_functions_stack() {
    let cachify = Cachify::memory();
    assert_eq!(stacked(&cachify, 1), 3);
    let lock = blocking::block_on(cachify.lock(&key!("once-1")).acquire()).unwrap();
    assert_eq!(stacked(&cachify, 1), 0);
    assert!(stacked::force_release(&cachify, &1).unwrap());
    drop(lock);
    let permit = blocking::block_on(cachify.pool(&key!("pool"), 1).acquire()).unwrap();
    assert_eq!(stacked(&cachify, 1), 1);
    drop(permit);
}

#[cached(key = "scoped")]
fn scoped() -> u8 {
    1
}

#[test]
fn a_scope_reaches_sync_functions() {
    let cachify = Cachify::memory();
    assert_eq!(cachify.sync_scope(scoped), 1);
    assert_eq!(cachify.sync_scope(scoped::get).unwrap(), Some(1));
}

#[test]
fn l3_a_lock_is_renewed_while_a_sync_body_runs() {
    let cachify = Cachify::memory();
    let (started, has_started) = mpsc::channel();
    let (finish, may_finish) = mpsc::channel::<()>();

    #[locked(key = "renewed", ttl = "2s", with = cachify)]
    fn renewed(
        cachify: &Cachify,
        started: mpsc::Sender<()>,
        may_finish: mpsc::Receiver<()>,
    ) -> Result<(), Error> {
        let _ = cachify;
        started.send(()).unwrap();
        may_finish.recv().unwrap();
        Ok(())
    }

    let running = {
        let cachify = cachify.clone();
        thread::spawn(move || renewed(&cachify, started, may_finish))
    };
    has_started.recv().unwrap();
    // Longer than its time to live.
    let wait = cachify
        .lock(&key!("renewed"))
        .wait(Duration::from_millis(2500));
    let error = blocking::block_on(wait.acquire()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held);
    finish.send(()).unwrap();
    running.join().unwrap().unwrap();
}

/// The renewal task runs on the worker's own runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l3_a_lock_is_renewed_while_a_sync_body_blocks_a_worker() {
    #[locked(key = "worker", ttl = "1s", with = cachify)]
    fn body(cachify: &Cachify) -> Result<bool, Error> {
        thread::sleep(Duration::from_millis(1500));
        body::is_locked(cachify)
    }

    let cachify = Cachify::memory();
    let other = cachify.clone();
    let call = tokio::spawn(async move {
        // Starts the renewal task here.
        let guard = other.lock(&key!("other")).acquire().await.unwrap();
        let held = body(&other);
        drop(guard);
        held
    });
    assert!(call.await.unwrap().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_panic_of_a_sync_body_passes_through() {
    #[cached(key = "panics", with = cachify)]
    fn panics(cachify: &Cachify) -> u8 {
        let _ = cachify;
        panic!("on purpose")
    }

    let cachify = Cachify::memory();
    let call = tokio::spawn(async move { panics(&cachify) });
    let panic = call.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sync_functions_run_in_a_local_set() {
    let local = tokio::task::LocalSet::new();
    let call = local.run_until(async { squares_are_cached() });
    call.await;
}

#[tokio::test]
async fn block_on_does_not_spin_on_a_tasks_used_up_budget() {
    let gate = Arc::new(tokio::sync::Semaphore::new(1));
    // More operations than a task may do between two yields.
    blocking::block_on(async {
        for _ in 0..1000 {
            drop(gate.acquire().await.unwrap());
        }
    });
}
