//! The counters of the store. They belong to the process, so there is only one test.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use users::{NewUser, Store};

fn counted(name: &str) -> u64 {
    let metrics = users::render_metrics();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn reads_writes_and_overlapping_updates_are_counted() {
    users::render_metrics();
    let ann = NewUser::new("Ann", "ann@example.com").unwrap();
    let store = Store::open(None, Duration::ZERO).await.unwrap();
    assert_eq!(counted("users_reads_total"), 0);
    assert_eq!(counted("users_writes_total"), 0);

    let id = store.create(&ann).await.unwrap().id;
    store.find(id).await.unwrap();
    store.update(id, &ann).await.unwrap();
    store.update(id, &ann).await.unwrap();
    assert_eq!(counted("users_reads_total"), 1);
    assert_eq!(counted("users_writes_total"), 3);
    assert_eq!(counted("users_overlapping_updates_total"), 0);

    // Both updates read long before the delay has passed, so each runs between the other's read and
    // write.
    let slow = Store::open(None, Duration::from_millis(500)).await.unwrap();
    let id = slow.create(&ann).await.unwrap().id;
    let (first, second) = tokio::join!(slow.update(id, &ann), slow.update(id, &ann));
    assert!(first.unwrap().is_some() && second.unwrap().is_some());
    assert_eq!(counted("users_overlapping_updates_total"), 1);
}
