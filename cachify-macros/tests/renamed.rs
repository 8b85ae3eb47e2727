//! Expansions find the crate by the name that the user's `Cargo.toml` gives it.
#![allow(clippy::expect_used)]

use renamed::{CacheKey, Cachify, cached, key, locked};

#[derive(CacheKey)]
#[key("user-{id}")]
struct User {
    id: i64,
}

#[cached(key = "read-{user.id}")]
#[locked(key = "lock-{user.id}")]
async fn read(user: &User) -> Result<i64, renamed::Error> {
    Ok(user.id)
}

mod facade {
    pub(crate) mod inner {
        pub(crate) use renamed as cachify;
    }
}

#[cached(key = "named-{id}", crate = "crate::facade::inner::cachify")]
async fn named(id: i64) -> i64 {
    id
}

#[tokio::test]
async fn the_crate_is_found_by_the_name_it_has() {
    let user = User { id: 7 };
    assert_eq!(user.key(), key!("user-{id}", id = 7));
    assert_eq!(
        key!("x-{id}", id = 7, crate = "facade::inner::cachify").as_str(),
        "x-7"
    );
    let call = async {
        assert_eq!(read(&user).await.expect("memory answers"), 7);
        assert_eq!(read::get(&user).await.expect("memory answers"), Some(7));
        assert_eq!(named(7).await, 7);
    };
    Cachify::memory().scope(call).await;
}
