//! The store on real SQLite files.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use users::{NewUser, Store, User};

fn ann() -> NewUser {
    NewUser::new("Ann", "ann@example.com").unwrap()
}

async fn temporary() -> Store {
    Store::open(None, Duration::ZERO).await.unwrap()
}

#[tokio::test]
async fn what_was_written_is_read() {
    let store = temporary().await;
    let ann = store.create(&ann()).await.unwrap();
    assert_eq!(store.find(ann.id).await.unwrap(), Some(ann.clone()));

    let bob = NewUser::new("Bob", "bob@example.com").unwrap();
    let updated = store.update(ann.id, &bob).await.unwrap();
    assert_eq!(updated, Some(bob.with_id(ann.id)));
    assert_eq!(store.find(ann.id).await.unwrap(), updated);
}

#[tokio::test]
async fn an_absent_user_is_not_found_and_an_update_does_not_create_it() {
    let store = temporary().await;
    assert_eq!(store.find(7).await.unwrap(), None);
    assert_eq!(store.update(7, &ann()).await.unwrap(), None);
    assert_eq!(store.find(7).await.unwrap(), None);
}

#[tokio::test]
async fn a_file_is_created_and_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("users.db").display());
    let first = Store::open(Some(&url), Duration::ZERO).await.unwrap();
    let User { id, .. } = first.create(&ann()).await.unwrap();

    // Stands for a second process.
    let second = Store::open(Some(&url), Duration::ZERO).await.unwrap();
    assert_eq!(second.find(id).await.unwrap(), Some(ann().with_id(id)));
    first.close().await;
    second.check().await.unwrap();
}

#[tokio::test]
async fn two_temporary_stores_do_not_meet() {
    let (first, second) = (temporary().await, temporary().await);
    let ann = first.create(&ann()).await.unwrap();
    assert_eq!(second.find(ann.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_url_of_another_database_is_refused() {
    let url = "postgres://localhost/users";
    assert!(Store::open(Some(url), Duration::ZERO).await.is_err());
}

#[tokio::test]
async fn each_database_has_a_name_of_its_own_and_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("users.db").display());
    let first = Store::open(Some(&url), Duration::ZERO).await.unwrap();
    let second = Store::open(Some(&url), Duration::ZERO).await.unwrap();
    assert_eq!(first.name(), second.name());
    assert_ne!(first.name(), temporary().await.name());
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_named() {
    let url = "sqlite:///no/such/directory/users.db";
    let error = Store::open(Some(url), Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains(url), "{error}");
}
