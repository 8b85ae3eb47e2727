//! The handle that a function uses if it names none. A single test, because `init` affects the
//! whole process.
#![allow(clippy::expect_used)]

use cachify_core::{Cachify, ErrorKind, key};

/// Returns whether `cachify` has the entry that this test stored.
async fn is(cachify: Option<Cachify>, name: &str) -> bool {
    let cachify = cachify.expect("there is a handle");
    let found = cachify.cached(&key!("name")).get::<String>().await;
    found.expect("memory answers").as_deref() == Some(name)
}

async fn named(name: &str) -> Cachify {
    let cachify = Cachify::memory();
    let stored = cachify.cached(&key!("name")).set(name.to_owned()).await;
    stored.expect("memory stores");
    cachify
}

#[tokio::test]
async fn the_innermost_scope_comes_before_the_global_handle() {
    assert!(Cachify::current().is_none());

    let (global, outer, inner) = (
        named("global").await,
        named("outer").await,
        named("inner").await,
    );
    cachify_core::init(global).expect("the first call");
    let again = cachify_core::init(outer.clone()).expect_err("the second call");
    assert_eq!(again.kind(), ErrorKind::Configuration);
    assert!(is(Cachify::current(), "global").await);

    outer
        .scope(async {
            assert!(is(Cachify::current(), "outer").await);
            assert!(
                inner
                    .scope(async { is(Cachify::current(), "inner").await })
                    .await
            );
            assert!(is(inner.sync_scope(Cachify::current), "inner").await);
            assert!(is(Cachify::current(), "outer").await);
            let spawned = tokio::spawn(async { is(Cachify::current(), "global").await });
            assert!(spawned.await.expect("it does not panic"));
        })
        .await;
    assert!(is(Cachify::current(), "global").await);

    let scoped = outer.scope(async { Cachify::current() });
    drop(outer);
    assert!(
        is(
            tokio::spawn(scoped).await.expect("it does not panic"),
            "outer"
        )
        .await
    );
}
