//! Expressions for the placeholders of an attribute's key.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::cell::Cell;
use std::rc::Rc;

use cachify_core::{Cachify, Error, cached, key, locked, once, pooled};

fn assert_send<T: Send>(value: T) -> T {
    value
}

/// Returns whether `cachify` has an entry, of any type, under the key of this text.
async fn has(cachify: &Cachify, text: &str) -> bool {
    let template = cachify_core::KeyTemplate::parse(text).unwrap();
    let entry = cachify.cached(&template.render(&[]));
    entry.get::<u32>().await.unwrap().is_some()
}

const FIRST: u32 = 1;

#[cached(
    key = "list-{page}-{order}",
    page = page.unwrap_or(FIRST),
    order = order.as_deref().unwrap_or("name")
)]
async fn list(page: Option<u32>, order: Option<String>, limit: u32) -> u32 {
    page.unwrap_or(FIRST) * 100 + limit + u32::from(order.is_some())
}

#[tokio::test]
async fn an_option_is_an_argument_of_a_key() {
    let cachify = Cachify::memory();
    let call = async {
        assert_eq!(assert_send(list(None, None, 5)).await, 105);
        assert_eq!(list(Some(1), Some("name".to_owned()), 6).await, 105);
        assert_eq!(list(Some(2), Some("age".to_owned()), 6).await, 207);
        assert!(has(&cachify, "list-1-name").await && has(&cachify, "list-2-age").await);

        // Companions take the arguments that the expressions use, as the function does.
        assert_eq!(list::get(None, None).await.unwrap(), Some(105));
        list::set(Some(1), None, 7).await.unwrap();
        assert_eq!(list(None, None, 5).await, 7);
        assert_send(list::reset(None, Some("name".to_owned())))
            .await
            .unwrap();
        assert_eq!(list::get(Some(1), None).await.unwrap(), None);
        assert_eq!(
            list::get(Some(2), Some("age".to_owned())).await.unwrap(),
            Some(207)
        );
    };
    cachify.scope(call).await;
}

struct Query<T>(T);

struct Filter {
    page: Option<u32>,
    tags: Vec<String>,
}

#[cached(
    page = filter.page.unwrap_or(1) + offset,
    key = "search-{page}-{tenant}-{tags}",
    tags = filter.tags.join("+")
)]
async fn search(offset: u32, tenant: String, Query(filter): Query<Filter>) -> u32 {
    let _ = tenant;
    filter.page.map_or(0, |page| page + offset)
}

#[tokio::test]
async fn of_an_argument_in_a_pattern_companions_take_the_value() {
    let call = async {
        let filter = Filter {
            page: Some(3),
            tags: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(search(2, "acme".to_owned(), Query(filter)).await, 5);
        let found = search::get(&5, "acme", "a+b").await.unwrap();
        assert_eq!(found, Some(5));
        search::reset(&5, "acme", "a+b").await.unwrap();
        assert_eq!(search::get(&5, "acme", "a+b").await.unwrap(), None);
    };
    Cachify::memory().scope(call).await;
}

struct Shop {
    cachify: Cachify,
    tenant: Option<&'static str>,
}

impl Shop {
    const DEFAULT: &'static str = "main";

    #[cached(
        key = "{tenant}-{id}-{big}",
        tenant = self.tenant.unwrap_or(Self::DEFAULT),
        big = if big { "big" } else { "small" },
        with = self.cachify
    )]
    async fn find(&self, id: u32, big: bool) -> u32 {
        id + u32::from(big)
    }

    #[locked(key = "lock-{of}", of = id.max(T::from(1)), method)]
    async fn change<T: Into<u32> + Copy + Ord + From<u8> + std::fmt::Display + Send>(
        id: T,
    ) -> Result<u32, Error> {
        Ok(id.into())
    }
}

#[once(key = "once-{shown}", shown = format!("{day:02}"), on_locked = 0, on_unavailable = 0)]
async fn report(day: u8) -> u8 {
    day
}

#[pooled(key = "pool-{of.0}-{of.1}", of = pair(tenant), max = 2)]
#[cached(key = "inner-{name}", name = tenant.unwrap_or("none"))]
async fn stacked(tenant: Option<&str>) -> Result<usize, Error> {
    Ok(tenant.map_or(0, str::len))
}

fn pair(tenant: Option<&str>) -> (&str, usize) {
    (tenant.unwrap_or("none"), 1)
}

#[locked(key = "blocking-{n}", n = n.unwrap_or_default(), wait = 1)]
fn blocking(n: Option<u8>) -> Result<u8, Error> {
    Ok(n.unwrap_or_default())
}

#[tokio::test]
async fn all_attributes_and_shapes_take_expressions() {
    let cachify = Cachify::memory();
    let shop = Shop {
        cachify: cachify.clone(),
        tenant: None,
    };
    assert_eq!(shop.find(7, true).await, 8);
    assert!(has(&cachify, "main-7-big").await);
    assert_eq!(shop.find_get(&7, true).await.unwrap(), Some(8));
    shop.find_reset(&7, true).await.unwrap();
    assert!(!has(&cachify, "main-7-big").await);

    let call = async {
        assert_eq!(assert_send(Shop::change(7_u32)).await.unwrap(), 7);
        assert!(!Shop::change_is_locked(7_u32).await.unwrap());
        assert_eq!(report(3).await, 3);
        let guard = cachify.lock(&key!("once-03")).acquire().await.unwrap();
        assert!(report::is_locked(3).await.unwrap());
        assert_eq!(report(3).await, 0);
        guard.release().await.unwrap();
        assert_eq!(assert_send(stacked(Some("acme"))).await.unwrap(), 4);
        assert_eq!(stacked::get(Some("acme")).await.unwrap(), Some(4));
        assert_eq!(stacked::in_use(Some("acme")).await.unwrap(), 0);
    };
    cachify.scope(call).await;
    Cachify::memory().sync_scope(|| {
        assert_eq!(blocking(None).unwrap(), 0);
        assert!(!blocking::is_locked(Some(0)).unwrap());
    });
}

#[cached(key = "twice-{n}-{n}", n = counted(calls))]
async fn twice(calls: &Counter) -> u32 {
    calls.get()
}

#[derive(Default)]
struct Counter(std::sync::atomic::AtomicU32);

impl Counter {
    fn get(&self) -> u32 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

fn counted(calls: &Counter) -> u32 {
    calls.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
}

#[tokio::test]
async fn an_expression_is_evaluated_once_for_a_key() {
    let cachify = Cachify::memory();
    let calls = Counter::default();
    assert_eq!(cachify.scope(twice(&calls)).await, 1);
    assert!(has(&cachify, "twice-0-0").await);
}

/// Names that an expansion uses, and names from a macro of the user's own.
mod hygiene {
    use super::{Cell, Rc, cached};

    #[cached(key = "{hit}-{value}-{error}", hit = value, value = hit, error = error + 1)]
    pub(super) async fn crossed(hit: u8, value: u8, error: u8) -> u32 {
        u32::from(hit + value + error)
    }

    macro_rules! listed {
        ($name:ident, $page:ident, $other:expr) => {
            #[cached(key = "listed-{page}-{other}", page = $page.unwrap_or($other), other = $other)]
            pub(super) async fn $name($page: Option<u32>) -> u32 {
                $page.unwrap_or($other)
            }
        };
    }

    listed!(by_number, number, 4);

    /// Uses a value that is not `Send`; that is fine unless it lives across an await.
    #[cached(key = "local-{n}", n = Rc::new(Cell::new(n)).get())]
    pub(super) async fn local(n: u32) -> u32 {
        n
    }
}

#[tokio::test]
async fn expressions_keep_their_own_names() {
    let cachify = Cachify::memory();
    let call = async {
        assert_eq!(hygiene::crossed(1, 2, 3).await, 6);
        assert!(has(&cachify, "2-1-4").await);
        assert_eq!(hygiene::crossed::get(1, 2, 3).await.unwrap(), Some(6));
        assert_eq!(assert_send(hygiene::local(3)).await, 3);
        hygiene::local::reset(3).await.unwrap();
        assert_eq!(hygiene::by_number(None).await, 4);
        assert!(has(&cachify, "listed-4-4").await);
        hygiene::by_number::reset(None).await.unwrap();
        assert!(!has(&cachify, "listed-4-4").await);
    };
    cachify.scope(call).await;
}
