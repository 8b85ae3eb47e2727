//! `key!` and `#[derive(CacheKey)]`.
#![deny(warnings, clippy::pedantic)]

use std::cell::Cell;
use std::fmt::{self, Display};
use std::rc::Rc;

use cachify_core::{CacheKey, Cachify, Key, key};

struct Order {
    id: u32,
    customer: Customer,
    pair: (u8, u8),
}

struct Customer {
    name: String,
}

fn order() -> Order {
    Order {
        id: 3,
        customer: Customer {
            name: "Ann".to_owned(),
        },
        pair: (1, 2),
    }
}

#[test]
fn k1_key_captures_what_stands_where_it_is_used() {
    let user_id = 7;
    assert_eq!(key!("read_user-{user_id}").as_str(), "read_user-7");
    assert_eq!(
        key!("read_user-{user_id}").template(),
        "read_user-{user_id}"
    );
    assert_eq!(key!("total").as_str(), "total");
}

#[test]
fn k1_key_takes_fields_and_expressions() {
    let order = order();
    assert_eq!(
        key!("o-{order.id}/{order.customer.name}/{order.pair.1}").as_str(),
        "o-3/Ann/2"
    );
    assert_eq!(key!("u-{id}", id = order.id + 1).as_str(), "u-4");
    assert_eq!(key!("u-{it.id}-{it.id}", it = order,).as_str(), "u-3-3");
    assert_eq!(
        key!("u-{id}", id = 1, crate = "cachify_core").as_str(),
        "u-1"
    );
    assert_eq!(order.customer.name, "Ann");
}

#[test]
fn k1_a_given_expression_is_evaluated_once() {
    let calls = Cell::new(0);
    let next = || {
        calls.set(calls.get() + 1);
        calls.get()
    };
    assert_eq!(key!("{n}-{n}", n = next()).as_str(), "1-1");
}

#[test]
fn k1_keywords_and_unsized_text_are_placeholders_like_any_other() {
    let r#type = "card";
    assert_eq!(key!("pay-{type}").as_str(), "pay-card");
    assert_eq!(key!("pay-{type}", r#type = "cash").as_str(), "pay-cash");
}

impl Order {
    fn key(&self) -> Key {
        key!("order-{self.id}")
    }
}

#[test]
fn k1_self_is_a_value_too() {
    assert_eq!(order().key().as_str(), "order-3");
}

/// Displays, and is `Send` but not `Sync`.
struct Lonely(Cell<u8>);

impl Display for Lonely {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().fmt(f)
    }
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn k1_a_key_of_a_value_that_is_not_sync_leaves_the_future_send() {
    let cachify = Cachify::memory();
    let future = async {
        let id = Lonely(Cell::new(1));
        cachify
            .cached(&key!("lonely-{id}"))
            .get_or_compute(async || 1)
            .await
            + cachify
                .cached(&key!("local-{id}", id = Rc::new(2)))
                .get_or_compute(async || 2)
                .await
    };
    assert_eq!(assert_send(future).await, 3);
}

macro_rules! from_a_macro {
    ($value:expr) => {{
        let id = $value;
        key!("m-{id}")
    }};
}

#[test]
fn k1_key_sees_what_the_macro_around_it_sees() {
    let id = "outer";
    assert_eq!(from_a_macro!("inner").as_str(), "m-inner");
    assert_eq!(key!("m-{id}").as_str(), "m-outer");
}

#[derive(CacheKey)]
#[key("update-user-{user_id}")]
struct UpdateUser {
    user_id: i64,
}

#[derive(CacheKey)]
#[key("page-{order.id}-{what}", crate = "cachify_core")]
struct Page<'a, T: ?Sized> {
    order: &'a Order,
    what: &'a T,
}

#[derive(CacheKey)]
#[key("all")]
struct All;

#[test]
fn k1_derive_makes_a_key_of_fields() {
    let update = UpdateUser { user_id: 7 };
    assert_eq!(update.key().as_str(), "update-user-7");
    assert_eq!(UpdateUser::template().as_str(), "update-user-{user_id}");
    assert_eq!(update.key(), key!("update-user-{user_id}", user_id = 7));

    let order = order();
    let page = Page {
        order: &order,
        what: "x",
    };
    assert_eq!(CacheKey::key(&page).as_str(), "page-3-x");
    assert_eq!(All.key().as_str(), "all");
}
