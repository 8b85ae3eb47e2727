//! The attributes on signatures of all shapes.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fmt::{Debug, Display};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::{Cacheable, Cachify, Error, KeyPart, cached, locked, once, pooled};

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[derive(Default)]
struct Counted {
    runs: AtomicUsize,
    id: u8,
}

impl Counted {
    fn next(&self) -> usize {
        self.runs.fetch_add(1, Ordering::SeqCst) + 1
    }

    #[cached(key = "by_arc-{self.id}")]
    async fn by_arc(self: Arc<Self>) -> usize {
        self.next()
    }

    #[cached(key = "by_box-{self.id}")]
    async fn by_box(self: Box<Self>) -> usize {
        self.next()
    }

    #[cached(key = "by_pin-{self.id}")]
    async fn by_pin(self: Pin<&mut Self>) -> usize {
        self.next()
    }

    #[locked(key = "by_mut-{self.id}", ttl = Self::TTL)]
    async fn by_mut(&mut self, by: u8) -> Result<u8, Error> {
        self.id += by;
        Ok(self.id)
    }

    #[cached(key = "by_value-{self.id}")]
    async fn by_value(mut self) -> usize {
        self.id += 1;
        self.next()
    }

    #[cached(key = "made-{id}", ttl = Self::TTL, method)]
    async fn made(id: u8) -> Result<Vec<u8>, Error> {
        Ok(vec![id; Self::LENGTH])
    }

    #[locked(key = "built-{id}", method)]
    async fn built(id: u8) -> Result<Self, Error> {
        Ok(Self {
            id,
            ..Self::default()
        })
    }

    const TTL: Duration = Duration::from_mins(1);
    const LENGTH: usize = 2;
}

#[tokio::test]
async fn receivers_of_all_kinds() {
    let call = async {
        let arc = Arc::new(Counted::default());
        assert_eq!(Arc::clone(&arc).by_arc().await, 1);
        assert_eq!(Arc::clone(&arc).by_arc().await, 1);
        assert_eq!(arc.by_arc_get().await.unwrap(), Some(1));
        arc.by_arc_reset().await.unwrap();
        assert_eq!(Arc::clone(&arc).by_arc().await, 2);

        assert_eq!(Box::new(Counted::default()).by_box().await, 1);
        let mut counted = Counted::default();
        assert_eq!(Pin::new(&mut counted).by_pin().await, 1);
        assert_eq!(counted.by_pin_get().await.unwrap(), Some(1));
        assert_eq!(assert_send(counted.by_mut(3)).await.unwrap(), 3);
        assert!(!counted.by_mut_is_locked().await.unwrap());
        assert_eq!(counted.by_value().await, 2);
        assert_eq!(Counted::made(3).await.unwrap(), [3, 3]);
        Counted::made_set(&3, vec![]).await.unwrap();
        assert!(Counted::made(3).await.unwrap().is_empty());
        assert_eq!(Counted::built(3).await.unwrap().id, 3);
    };
    Cachify::memory().scope(call).await;
}

/// A generic repository, as users write them.
struct Repository<'db, T, const N: usize = 2> {
    cachify: Cachify,
    name: &'db str,
    row: PhantomData<fn() -> T>,
}

impl<'db, T, const N: usize> Repository<'db, T, N>
where
    T: Cacheable + Default + Debug,
{
    #[cached(key = "rows-{self.name}-{id}", ttl = "5m", with = self.cachify)]
    async fn rows<K>(&self, id: K) -> Result<Vec<T>, Error>
    where
        K: KeyPart + Copy + Send + Sync,
    {
        let _ = id;
        Ok((0..N).map(|_| T::default()).collect())
    }

    #[cached(key = "first-{self.name}-{id}", with = &self.cachify)]
    async fn first(&self, id: &(impl Display + Sync)) -> Option<T> {
        let rows = self.rows(1).await.ok()?;
        let _ = id;
        rows.into_iter().next()
    }

    #[locked(key = "name-{self.name}", with = self.cachify)]
    async fn name(&self) -> Result<&'db str, Error> {
        Ok(self.name)
    }
}

#[tokio::test]
async fn methods_of_generic_types() {
    let name = String::from("users");
    let repository = Repository::<u8> {
        cachify: Cachify::memory(),
        name: &name,
        row: PhantomData,
    };
    assert_eq!(assert_send(repository.rows("x")).await.unwrap(), [0, 0]);
    repository.rows_set(&"x", vec![1]).await.unwrap();
    assert_eq!(repository.rows("x").await.unwrap(), [1]);
    assert_eq!(repository.first(&1).await, Some(0));
    repository.first_reset(&1).await.unwrap();
    assert_eq!(repository.name().await.unwrap(), "users");
}

#[cached(key = "bounds-{id}-{of}")]
async fn bounds<'a, 'b: 'a, T, E, I, const N: usize>(
    id: &'a T,
    of: &'b str,
    items: I,
    sizes: [u8; N],
) -> Result<Vec<I::Item>, E>
where
    T: KeyPart + Sync + ?Sized + 'b,
    for<'c> &'c T: PartialEq,
    I: IntoIterator,
    I::Item: Cacheable,
    E: Clone + From<&'b str>,
    [u8; N]: Default,
{
    let _ = (id, sizes);
    if of.is_empty() {
        return Err(E::from(of));
    }
    Ok(items.into_iter().collect())
}

#[tokio::test]
async fn bounds_of_all_kinds() {
    let call = async {
        let sizes = [0_u8; 2];
        let rows: Result<_, String> = bounds("a", "b", [1_u8, 2], sizes).await;
        assert_eq!(rows, Ok(vec![1, 2]));
        let rows: Result<Vec<u8>, String> = bounds("a", "", [1_u8, 2], sizes).await;
        assert_eq!(rows, Err(String::new()));
        bounds::reset("a", "b").await.unwrap();
    };
    Cachify::memory().scope(call).await;
}

enum Either<T> {
    One(T),
    Other(T),
}

struct Named {
    id: u8,
    pair: (u8, (u8, u8)),
}

#[cached(key = "patterns-{a}-{b}-{c}-{either}-{whole.id}-{id}-{tuple.1.0}-{reference}")]
#[allow(clippy::too_many_arguments)]
async fn patterns(
    (a, mut b): (u8, u8),
    [c, ..]: [u8; 2],
    (Either::One(either) | Either::Other(either)): Either<u8>,
    ref whole @ Named { id, .. }: Named,
    Named { pair: tuple, .. }: Named,
    &reference: &u8,
    (): (),
    mut unkeyed: String,
) -> u8 {
    b += 1;
    unkeyed.clear();
    a + b + c + either + whole.id + id + tuple.1.0 + reference
}

#[tokio::test]
async fn patterns_of_all_kinds() {
    let named = || Named {
        id: 1,
        pair: (1, (1, 1)),
    };
    let call = async {
        for either in [Either::One(1), Either::Other(1)] {
            let sum = patterns(
                (1, 1),
                [1, 2],
                either,
                named(),
                named(),
                &1,
                (),
                String::new(),
            );
            assert_eq!(sum.await, 9);
        }
        let stored = patterns::get(&1, &1, &1, &1, &1, &1, &1, &1);
        assert_eq!(stored.await.unwrap(), Some(9));
    };
    Cachify::memory().scope(call).await;
}

#[cached(key = "fibonacci-{n}")]
async fn fibonacci(n: u64, runs: &AtomicUsize) -> u64 {
    runs.fetch_add(1, Ordering::SeqCst);
    if n < 2 {
        return n;
    }
    Box::pin(fibonacci(n - 1, runs)).await + Box::pin(fibonacci(n - 2, runs)).await
}

#[cached(key = "fibonacci-{n}")]
#[locked(key = "fibonacci-{n}")]
fn fibonacci_of_threads(n: u64) -> Result<u64, Error> {
    if n < 2 {
        return Ok(n);
    }
    Ok(fibonacci_of_threads(n - 1)? + fibonacci_of_threads(n - 2)?)
}

#[tokio::test]
async fn c2_a_function_may_call_itself() {
    let runs = AtomicUsize::new(0);
    assert_eq!(
        Cachify::memory().scope(fibonacci(50, &runs)).await,
        12_586_269_025
    );
    assert_eq!(runs.load(Ordering::SeqCst), 51);
    let spawned = async {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        assert_send(fibonacci(3, &RUNS)).await
    };
    assert_eq!(
        tokio::spawn(Cachify::memory().scope(spawned))
            .await
            .unwrap(),
        2
    );
}

#[test]
fn c2_a_function_that_blocks_may_call_itself() {
    // Each nested call takes about 40 kB of stack in a debug build.
    let forty = Cachify::memory().sync_scope(|| fibonacci_of_threads(40));
    assert_eq!(forty.unwrap(), 102_334_155);
}

type Io<T = u8> = std::io::Result<T>;
type Nothing = Result<(), Error>;
type Boxed<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[cached(key = "io")]
async fn io(fails: bool) -> Io {
    if fails {
        return Err(std::io::Error::other("fails"));
    }
    Ok(1)
}

#[locked(key = "nothing")]
async fn nothing() -> Nothing {
    Ok(())
}

#[once(key = "boxed")]
async fn boxed(fails: bool) -> Boxed<u8> {
    if fails {
        return Err("fails".into());
    }
    Ok(1)
}

#[tokio::test]
async fn c5_aliases_of_result_are_results() {
    let call = async {
        assert!(io(true).await.is_err());
        assert_eq!(io(false).await.unwrap(), 1);
        assert_eq!(io(true).await.unwrap(), 1);
        io::set(Err(std::io::Error::other("fails"))).await.unwrap();
        assert!(io(true).await.is_err());
        nothing().await.unwrap();
        assert!(boxed(true).await.is_err());
        assert_eq!(boxed(false).await.unwrap(), 1);
    };
    Cachify::memory().scope(call).await;
}

mod nested {
    pub(crate) mod deeper {
        #[cachify_core::cached(key = "deep-{id}")]
        pub(in crate::nested) async fn restricted(id: u8) -> u8 {
            id
        }

        #[::cachify_core::cached(key = "deep-{id}")]
        #[::cachify_core::pooled(key = "deep", max = super::MAX)]
        pub(crate) async fn visible(id: u8) -> Result<u8, cachify_core::Error> {
            super::deeper::restricted::get(&id).await?;
            Ok(id)
        }

        #[cfg(any())]
        #[cachify_core::cached(key = "deep-{id}")]
        pub(crate) async fn not_there(id: u8) -> u8 {
            id
        }

        #[cachify_core::cached(key = "deep-{id}")]
        #[cfg(any())]
        pub(crate) async fn not_there(id: u8) -> u8 {
            id
        }

        #[cfg_attr(all(), cachify_core::cached(key = "there-{id}"))]
        #[cfg(test)]
        #[must_use]
        #[inline]
        #[allow(clippy::needless_pass_by_value)]
        pub(crate) async fn there(#[allow(unused)] id: String) -> u8 {
            1
        }

        #[allow(non_camel_case_types)]
        pub(crate) enum not_there {}
    }

    const MAX: u32 = 1;

    pub(crate) async fn calls() {
        deeper::restricted(1).await;
        deeper::restricted::reset(&1).await.unwrap();
    }
}

#[tokio::test]
async fn modules_visibility_and_conditions() {
    use nested::deeper::{there, visible};

    let call = async {
        nested::calls().await;
        assert_eq!(visible(1).await.unwrap(), 1);
        assert_eq!(visible::in_use().await.unwrap(), 0);
        assert_eq!(there("x".to_owned()).await, 1);
        assert_eq!(there::get("x").await.unwrap(), Some(1));
        let _: Option<nested::deeper::not_there> = None;
    };
    Cachify::memory().scope(call).await;
}

trait Reader {
    fn id(&self) -> u8;

    #[cached(key = "default-{id}")]
    async fn default_body(&self, id: u8) -> u8
    where
        Self: Sized,
    {
        self.id() + id
    }

    async fn required(&self) -> Result<u8, Error>;
}

impl Reader for Counted {
    fn id(&self) -> u8 {
        self.id
    }

    #[cached(key = "required-{self.id}", companion = none)]
    #[locked(key = "required-{self.id}")]
    async fn required(&self) -> Result<u8, Error> {
        Ok(self.id())
    }
}

#[tokio::test]
async fn methods_of_traits() {
    let call = async {
        let counted = Counted::default();
        assert_eq!(counted.default_body(1).await, 1);
        assert_eq!(counted.default_body_get(&1).await.unwrap(), Some(1));
        assert_eq!(counted.required().await.unwrap(), 0);
    };
    Cachify::memory().scope(call).await;
}

mod renamed {
    use cachify_core::{cached as memo, locked, pooled as limited};

    #[memo(key = "memo-{id}")]
    #[locked(key = "memo-{id}")]
    pub(super) async fn memo_over_lock(id: u8) -> Result<u8, super::Error> {
        Ok(id)
    }

    #[limited(key = "limited", max = 2)]
    pub(super) async fn alone() -> Result<u8, super::Error> {
        Ok(1)
    }
}

#[tokio::test]
async fn the_outer_attribute_may_be_renamed() {
    let call = async {
        assert_eq!(renamed::memo_over_lock(1).await.unwrap(), 1);
        assert!(!renamed::memo_over_lock::is_locked(&1).await.unwrap());
        assert_eq!(renamed::memo_over_lock::get(&1).await.unwrap(), Some(1));
        assert_eq!(renamed::alone().await.unwrap(), 1);
        assert_eq!(renamed::alone::in_use().await.unwrap(), 0);
    };
    Cachify::memory().scope(call).await;
}

#[pooled(key = "answers-{name}", max = 1, on_full = Err(name.len()), map_err = |_| 0_usize)]
async fn answers(name: String, gate: &tokio::sync::Semaphore) -> Result<String, usize> {
    gate.acquire().await.map_err(|_| 0_usize)?.forget();
    Ok(name)
}

#[tokio::test]
async fn p3_on_full_may_use_the_arguments() {
    let gate = tokio::sync::Semaphore::new(0);
    let call = async {
        let first = answers("x".to_owned(), &gate);
        let second = async {
            while answers::in_use("x").await.unwrap() == 0 {
                tokio::task::yield_now().await;
            }
            let second = answers("x".to_owned(), &gate).await;
            gate.add_permits(1);
            second
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first, second), (Ok("x".to_owned()), Err(1)));
    };
    Cachify::memory().scope(call).await;
}

/// Below the attribute it sees computed calls only, above it every call.
#[tracing::instrument(skip(runs))]
#[cached(key = "traced-{id}")]
#[tracing::instrument(skip_all, fields(id))]
#[pooled(key = "traced", max = 1)]
async fn traced(id: u8, runs: &AtomicUsize) -> Result<u8, Error> {
    runs.fetch_add(1, Ordering::SeqCst);
    Ok(id)
}

#[tokio::test]
async fn attributes_of_others_stay() {
    let runs = AtomicUsize::new(0);
    let call = async {
        assert_eq!(assert_send(traced(1, &runs)).await.unwrap(), 1);
        assert_eq!(traced(1, &runs).await.unwrap(), 1);
        traced::reset(&1).await.unwrap();
        assert_eq!(traced(1, &runs).await.unwrap(), 1);
        assert_eq!(traced::in_use().await.unwrap(), 0);
    };
    Cachify::memory().scope(call).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}
