//! `#[once]`, `#[locked]` and `#[pooled]`: the caller that runs, the result of the others, and the
//! reports of failures.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::clock::Clock;
use cachify_core::{Cachify, Error, ErrorKind, key, locked, once, pooled};
use tokio::sync::Semaphore;

/// A gate for bodies, which counts those that are inside.
#[derive(Debug)]
struct Gate {
    inside: AtomicUsize,
    open: Semaphore,
}

impl Gate {
    fn shut() -> Arc<Self> {
        Arc::new(Self {
            inside: AtomicUsize::new(0),
            open: Semaphore::new(0),
        })
    }

    async fn pass(&self) {
        let _inside = Inside::of(&self.inside);
        self.open.acquire().await.unwrap().forget();
    }

    fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    async fn until_inside(&self, count: usize) {
        while self.inside() != count {
            tokio::task::yield_now().await;
        }
    }
}

struct Inside<'a>(&'a AtomicUsize);

impl<'a> Inside<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum ChargeError {
    Cachify(ErrorKind),
    Declined,
    Busy(u32),
    /// An error of the body that looks like a failure of the lock.
    Own(ErrorKind),
}

impl From<Error> for ChargeError {
    fn from(error: Error) -> Self {
        Self::Cachify(error.kind())
    }
}

struct Order {
    id: u32,
}

fn manual() -> Cachify {
    Cachify::builder()
        .memory()
        .clock(Clock::test())
        .connect_lazy()
        .unwrap()
}

/// Returns a handle whose backend behaves as if it were away: locks answer `Unavailable`.
async fn away() -> Cachify {
    let cachify = Cachify::memory();
    cachify.close(Duration::ZERO).await.unwrap();
    cachify
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[locked(key = "charge-{order.id}", with = cachify)]
async fn charge(cachify: &Cachify, gate: &Gate, order: &Order) -> Result<u32, ChargeError> {
    assert!(
        cachify
            .lock(&key!("charge-{order.id}"))
            .is_locked()
            .await
            .unwrap()
    );
    gate.pass().await;
    if order.id == 0 {
        return Err(ChargeError::Declined);
    }
    Ok(order.id)
}

#[tokio::test]
async fn l1_locked_runs_one_at_a_time_for_a_key() {
    let cachify = Cachify::memory();
    let gate = Gate::shut();
    let running = {
        let (cachify, gate) = (cachify.clone(), Arc::clone(&gate));
        tokio::spawn(async move { assert_send(charge(&cachify, &gate, &Order { id: 1 })).await })
    };
    gate.until_inside(1).await;
    assert!(charge::is_locked(&cachify, &Order { id: 1 }).await.unwrap());
    assert!(!charge::is_locked(&cachify, &Order { id: 2 }).await.unwrap());

    // The same lock under any name.
    let held = charge(&cachify, &gate, &Order { id: 1 }).await;
    assert_eq!(held, Err(ChargeError::Cachify(ErrorKind::Held)));
    assert!(cachify.lock(&key!("charge-1")).is_locked().await.unwrap());

    gate.open.add_permits(3);
    assert_eq!(charge(&cachify, &gate, &Order { id: 2 }).await, Ok(2));
    assert_eq!(running.await.unwrap(), Ok(1));
    // Released when it returns, not later.
    assert!(!charge::is_locked(&cachify, &Order { id: 1 }).await.unwrap());
    assert_eq!(
        charge(&cachify, &gate, &Order { id: 0 }).await,
        Err(ChargeError::Declined)
    );
    assert!(!charge::is_locked(&cachify, &Order { id: 0 }).await.unwrap());
}

#[locked(key = "patient", wait = "10s", with = cachify)]
async fn patient(cachify: &Cachify, gate: &Gate) -> Result<(), Error> {
    let _ = cachify;
    gate.pass().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn l2_locked_waits_as_long_as_it_says() {
    let cachify = manual();
    let gate = Gate::shut();
    let guard = cachify.lock(&key!("patient")).acquire().await.unwrap();
    let start = tokio::time::Instant::now();
    let error = patient(&cachify, &gate).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held);
    assert_eq!(error.template(), Some("patient"));
    assert_eq!(start.elapsed().as_secs(), 10);

    let waiting = {
        let (cachify, gate) = (cachify.clone(), Arc::clone(&gate));
        tokio::spawn(async move { patient(&cachify, &gate).await })
    };
    tokio::task::yield_now().await;
    guard.release().await.unwrap();
    gate.open.add_permits(1);
    waiting.await.unwrap().unwrap();
}

#[locked(key = "forced", ttl = 1, with = cachify)]
async fn forced(cachify: &Cachify, gate: &Gate) -> Result<(), ChargeError> {
    let _ = cachify;
    gate.pass().await;
    Ok(())
}

#[locked(
    key = "forced",
    ttl = "1s",
    max_hold = Duration::from_secs(5),
    on_unavailable = 7,
    on_locked = 8,
    with = cachify
)]
async fn bounded(cachify: &Cachify, gate: &Gate) -> u8 {
    let _ = cachify;
    gate.pass().await;
    0
}

#[tokio::test(start_paused = true)]
async fn l4_a_lock_that_is_lost_cancels_the_body() {
    let cachify = manual();
    let gate = Gate::shut();
    let body = forced(&cachify, &gate);
    let rest = async {
        gate.until_inside(1).await;
        assert!(forced::force_release(&cachify).await.unwrap());
        assert!(!forced::force_release(&cachify).await.unwrap());
    };
    let both = async { tokio::join!(body, rest) };
    let both = tokio::time::timeout(Duration::from_secs(5), both).await;
    assert_eq!(both.unwrap().0, Err(ChargeError::Cachify(ErrorKind::Lost)));
    assert_eq!(gate.inside(), 0);

    let start = tokio::time::Instant::now();
    assert_eq!(bounded(&cachify, &gate).await, 7);
    assert!(start.elapsed() <= Duration::from_secs(5));
    assert_eq!(gate.inside(), 0);
}

#[locked(key = "robbed", with = cachify)]
async fn robbed(cachify: &Cachify) -> Result<&'static str, ChargeError> {
    robbed::force_release(cachify).await?;
    Ok("done")
}

#[tokio::test]
async fn p2_a_result_is_not_lost_to_a_release_that_fails() {
    assert_eq!(robbed(&Cachify::memory()).await, Ok("done"));
}

#[once(
    key = "daily-report",
    ttl = "10m",
    on_locked = (),
    on_error = |error| reported(&error),
    with = cachify
)]
async fn daily_report(cachify: &Cachify, gate: &Gate) {
    let _ = cachify;
    gate.pass().await;
}

static REPORTED: AtomicUsize = AtomicUsize::new(0);

fn reported(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    REPORTED.fetch_add(1, Ordering::SeqCst);
}

#[tokio::test]
async fn o1_once_runs_once_and_the_loser_gets_on_locked() {
    let cachify = Cachify::memory();
    let gate = Gate::shut();
    let running = {
        let (cachify, gate) = (cachify.clone(), Arc::clone(&gate));
        tokio::spawn(async move { daily_report(&cachify, &gate).await })
    };
    gate.until_inside(1).await;
    daily_report(&cachify, &gate).await;
    assert!(daily_report::is_locked(&cachify).await.unwrap());
    // By its key alone, a lock excludes it too.
    assert!(cachify.lock(&key!("daily-report")).acquire().await.is_err());
    gate.open.add_permits(1);
    running.await.unwrap();
    assert!(!daily_report::is_locked(&cachify).await.unwrap());
    assert_eq!(REPORTED.load(Ordering::SeqCst), 0);

    // Without a backend, `on_locked` does not answer.
    daily_report(&away().await, &gate).await;
    assert_eq!(REPORTED.load(Ordering::SeqCst), 1);
}

/// Like the extractors of frameworks, owned by the handler.
struct Path<T>(T);
struct State<T>(T);

trait IntoResponse {
    fn into_response(self) -> (u16, String);
}

impl IntoResponse for (u16, String) {
    fn into_response(self) -> Self {
        self
    }
}

#[once(
    key = "update-user-{user_id}",
    on_locked = (226, format!("update of {user_id} in progress")),
    on_unavailable = (503, String::new()),
    with = cachify,
)]
async fn update_user(
    State(cachify): State<Cachify>,
    State(gate): State<Arc<Gate>>,
    Path(user_id): Path<String>,
) -> impl IntoResponse {
    drop(cachify);
    gate.pass().await;
    (200, user_id)
}

#[tokio::test]
async fn o1_once_goes_straight_onto_a_handler() {
    let cachify = Cachify::memory();
    let gate = Gate::shut();
    let call = |cachify: &Cachify, id: &str| {
        let handler = update_user(
            State(cachify.clone()),
            State(Arc::clone(&gate)),
            Path(id.to_owned()),
        );
        let handler = assert_send(handler);
        async { handler.await.into_response() }
    };
    let running = tokio::spawn(call(&cachify, "7"));
    gate.until_inside(1).await;
    assert!(update_user::is_locked(&cachify, &7).await.unwrap());
    assert!(update_user::is_locked(&cachify, "7").await.unwrap());
    assert_eq!(
        call(&cachify, "7").await,
        (226, "update of 7 in progress".to_owned())
    );
    gate.open.add_permits(1);
    assert_eq!(running.await.unwrap(), (200, "7".to_owned()));
    assert_eq!(call(&away().await, "7").await.0, 503);
}

#[once(key = "outer", on_locked = Ok("on_locked"), with = cachify)]
async fn asks_for_another_lock(cachify: &Cachify) -> Result<&'static str, Error> {
    cachify.lock(&key!("inner")).run(async { "ran" }).await
}

#[pooled(key = "outer", max = 1, on_full = Ok("on_full"), with = cachify)]
async fn asks_for_another_pool(cachify: &Cachify) -> Result<&'static str, Error> {
    cachify.pool(&key!("inner"), 1).run(async { "ran" }).await
}

#[locked(key = "own", on_locked = Err(ChargeError::Busy(1)), with = cachify)]
async fn fails_by_itself(cachify: &Cachify) -> Result<(), ChargeError> {
    let _ = cachify;
    Err(ChargeError::Own(ErrorKind::Held))
}

#[tokio::test]
async fn o1_py04_the_bodys_own_held_or_full_passes_through() {
    let cachify = Cachify::memory();
    let inner = cachify.lock(&key!("inner")).acquire().await.unwrap();
    let error = asks_for_another_lock(&cachify).await.unwrap_err();
    assert_eq!(error.template(), Some("inner"));
    let outer = cachify.lock(&key!("outer")).acquire().await.unwrap();
    assert_eq!(asks_for_another_lock(&cachify).await.unwrap(), "on_locked");
    outer.release().await.unwrap();
    inner.release().await.unwrap();
    assert_eq!(asks_for_another_lock(&cachify).await.unwrap(), "ran");

    let inner = cachify.pool(&key!("inner"), 1).acquire().await.unwrap();
    let error = asks_for_another_pool(&cachify).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.template()),
        (ErrorKind::Full, Some("inner"))
    );
    let outer = cachify.pool(&key!("outer"), 1).acquire().await.unwrap();
    assert_eq!(asks_for_another_pool(&cachify).await.unwrap(), "on_full");
    outer.release().await.unwrap();
    inner.release().await.unwrap();
    assert_eq!(asks_for_another_pool(&cachify).await.unwrap(), "ran");

    assert_eq!(
        fails_by_itself(&cachify).await,
        Err(ChargeError::Own(ErrorKind::Held))
    );
}

#[pooled(
    key = "vendor-{tenant}",
    max = u32::from(*max),
    on_full = Err(ChargeError::Busy(0)),
    with = cachify
)]
async fn call_vendor(
    cachify: &Cachify,
    gate: &Gate,
    tenant: &str,
    max: &u8,
) -> Result<usize, ChargeError> {
    let _ = (cachify, max);
    gate.pass().await;
    Ok(tenant.len())
}

#[tokio::test]
async fn p1_py20_pooled_formats_its_template() {
    let cachify = Cachify::memory();
    let gate = Gate::shut();
    let spawn = |tenant: &'static str| {
        let (cachify, gate) = (cachify.clone(), Arc::clone(&gate));
        tokio::spawn(async move { assert_send(call_vendor(&cachify, &gate, tenant, &2)).await })
    };
    let running = [spawn("acme"), spawn("acme")];
    gate.until_inside(2).await;
    assert_eq!(
        call_vendor(&cachify, &gate, "acme", &2).await,
        Err(ChargeError::Busy(0))
    );
    assert_eq!(call_vendor::in_use(&cachify, "acme").await.unwrap(), 2);
    assert_eq!(call_vendor::in_use(&cachify, "other").await.unwrap(), 0);
    assert_eq!(
        cachify
            .pool(&key!("vendor-{tenant}", tenant = "acme"), 2)
            .status()
            .await
            .unwrap()
            .in_use,
        2
    );

    let other = spawn("other");
    gate.until_inside(3).await;
    gate.open.add_permits(3);
    for call in running {
        assert_eq!(call.await.unwrap(), Ok(4));
    }
    assert_eq!(other.await.unwrap(), Ok(5));
    assert_eq!(call_vendor::in_use(&cachify, "acme").await.unwrap(), 0);
}

/// A foreign type, so it can't implement `From<Error>`.
type Foreign = std::io::Error;

struct Rejection(Error);

impl From<Rejection> for Foreign {
    fn from(rejection: Rejection) -> Self {
        Self::other(rejection.0)
    }
}

#[locked(key = "mapped", map_err = Rejection, with = cachify)]
async fn mapped(cachify: &Cachify) -> std::io::Result<u8> {
    let _ = cachify;
    Ok(1)
}

#[locked(key = "mapped", map_err = |error| Foreign::other(error.to_string()), with = cachify)]
async fn mapped_by_closure(cachify: &Cachify) -> Result<u8, Foreign> {
    let _ = cachify;
    Ok(1)
}

#[locked(key = "answered", on_error = |error: Error| error.kind().as_str(), with = cachify)]
async fn answered(cachify: &Cachify) -> &'static str {
    let _ = cachify;
    "ran"
}

#[locked(key = "answered", on_unavailable = Ok(0), with = cachify)]
async fn has_a_substitute(cachify: &Cachify) -> Result<u8, ChargeError> {
    let _ = cachify;
    Ok(1)
}

#[locked(key = "answered", on_locked = Ok(2), with = cachify)]
async fn reports(cachify: &Cachify) -> Result<u8, ChargeError> {
    let _ = cachify;
    Ok(1)
}

#[tokio::test]
async fn l7_without_a_backend_the_body_does_not_run_and_the_error_is_told() {
    let away = away().await;
    assert!(
        mapped(&away)
            .await
            .unwrap_err()
            .get_ref()
            .unwrap()
            .is::<Error>()
    );
    assert!(
        mapped_by_closure(&away)
            .await
            .unwrap_err()
            .to_string()
            .contains("mapped")
    );
    assert_eq!(answered(&away).await, "unavailable");
    assert_eq!(has_a_substitute(&away).await, Ok(0));
    assert_eq!(
        reports(&away).await,
        Err(ChargeError::Cachify(ErrorKind::Unavailable))
    );

    let cachify = Cachify::memory();
    let _mapped = cachify.lock(&key!("mapped")).acquire().await.unwrap();
    let _answered = cachify.lock(&key!("answered")).acquire().await.unwrap();
    assert!(mapped(&cachify).await.is_err());
    assert_eq!(answered(&cachify).await, "held");
    // `Held` is not the backend's fault.
    assert_eq!(
        has_a_substitute(&cachify).await,
        Err(ChargeError::Cachify(ErrorKind::Held))
    );
    assert_eq!(reports(&cachify).await, Ok(2));
}

struct Shop {
    cachify: Cachify,
    gate: Arc<Gate>,
}

impl Shop {
    #[once(key = "stock-{id}", on_locked = None, on_unavailable = None, with = self.cachify)]
    async fn stock(&mut self, id: u32) -> Option<u32> {
        self.gate.pass().await;
        Some(id)
    }
}

#[tokio::test]
async fn py01_the_companions_of_a_method_ask_its_handle() {
    let gate = Gate::shut();
    let mut shop = Shop {
        cachify: Cachify::memory(),
        gate: Arc::clone(&gate),
    };
    let same = Shop {
        cachify: shop.cachify.clone(),
        gate: Arc::clone(&gate),
    };
    let other = Shop {
        cachify: Cachify::memory(),
        gate: Arc::clone(&gate),
    };
    let running = tokio::spawn(async move { shop.stock(1).await });
    gate.until_inside(1).await;
    assert!(same.stock_is_locked(&1).await.unwrap());
    assert!(!other.stock_is_locked(&1).await.unwrap());
    assert!(same.stock_force_release(&1).await.unwrap());
    gate.open.add_permits(1);
    assert_eq!(running.await.unwrap(), Some(1));
}

#[tokio::test]
async fn l6_a_call_that_is_dropped_leaves_no_lock_behind() {
    let cachify = Cachify::memory();
    let gate = Gate::shut();
    {
        let order = Order { id: 1 };
        let mut call = Box::pin(charge(&cachify, &gate, &order));
        tokio::select! {
            biased;
            _ = &mut call => unreachable!("the gate is shut"),
            () = gate.until_inside(1) => {}
        }
        assert!(charge::is_locked(&cachify, &order).await.unwrap());
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!charge::is_locked(&cachify, &Order { id: 1 }).await.unwrap());
}
