//! The page on keys.
#![allow(clippy::unwrap_used)]

// ANCHOR: typed
use cachify_core::CacheKey;

#[derive(CacheKey)]
#[key("update-user-{user_id}")]
struct UpdateUser {
    user_id: i64,
}
// ANCHOR_END: typed

use cachify_core::{ErrorKind, Key, KeyTemplate, key};

struct Order {
    id: u32,
}

// ANCHOR: macro
fn keys(user_id: i64, order: &Order, page: Option<u32>) -> [Key; 3] {
    [
        key!("read_user-{user_id}"),                    // a variable
        key!("order-{order.id}"),                       // a field
        key!("users-{page}", page = page.unwrap_or(1)), // any expression
    ]
}
// ANCHOR_END: macro

#[test]
fn key_takes_variables_fields_and_expressions() {
    let keys = keys(7, &Order { id: 3 }, None);
    let texts: Vec<_> = keys.iter().map(Key::as_str).collect();
    assert_eq!(texts, ["read_user-7", "order-3", "users-1"]);
}

#[test]
fn a_struct_can_be_a_key() {
    let key = UpdateUser { user_id: 7 }.key();
    assert_eq!(key, key!("update-user-7"));
}

// ANCHOR: parse
#[test]
fn a_template_is_checked_when_it_is_parsed() {
    let template = KeyTemplate::parse("report-{tenant}-{day}").unwrap();
    assert_eq!(
        template.placeholders().collect::<Vec<_>>(),
        ["tenant", "day"]
    );
    let key = template.render(&[&"acme", &20_000]);
    assert_eq!(key.as_str(), "report-acme-20000");

    let error = KeyTemplate::parse("report-{tenant}{day}").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Template);
}
// ANCHOR_END: parse

// ANCHOR: collisions
#[test]
fn different_arguments_make_different_keys() {
    let between = |from: &str, to: &str| key!("route-{from}-{to}");
    assert_eq!(between("a", "b").as_str(), "route-a-b");
    assert_eq!(between("1-2", "3").as_str(), "route-1%2D2-3");
    assert_eq!(between("1", "2-3").as_str(), "route-1-2-3");
}
// ANCHOR_END: collisions

#[test]
fn a_long_key_is_a_readable_start_and_a_hash() {
    let text = "x".repeat(10_000);
    let key = key!("search-{text}");
    assert!(key.as_str().len() <= 512);
    assert!(key.as_str().starts_with("search-xxx"));
    assert!(key.as_str().contains("%#"));
}

// ANCHOR: debug
#[test]
fn a_key_shows_its_template_and_not_its_arguments() {
    let token = "s3cret";
    let key = key!("session-{token}");
    assert_eq!(format!("{key:?}"), r#"Key("session-{token}")"#);
}
// ANCHOR_END: debug

// ANCHOR: prefix
#[tokio::test]
async fn tenants_never_meet() -> Result<(), cachify_core::Error> {
    let cachify = cachify_core::Cachify::memory();
    let (acme, globex) = (cachify.with_prefix("acme")?, cachify.with_prefix("globex")?);
    acme.cached(&key!("seats")).set(7).await?;
    assert_eq!(globex.cached(&key!("seats")).get::<i32>().await?, None);
    Ok(())
}
// ANCHOR_END: prefix
