//! The page on HTTP caching.
#![allow(clippy::unwrap_used, clippy::unused_async)]

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::handler::Handler;
use axum::routing::get;
use cachify_axum::{CacheLayer, Cachify, Problem, cached, key};

// ANCHOR: keys
fn routes(cachify: &Cachify) -> Router {
    let user = CacheLayer::new(cachify, "read_user-{user_id}");
    let list = CacheLayer::new(cachify, "list_users-{query}"); // one entry for each query
    let search = CacheLayer::new(cachify, "search-{query.text}-{header.accept-language}")
        .ttl(Duration::from_secs(30))
        .limit(64 * 1024); // bytes
    Router::new()
        .route("/users/{user_id}", get(answer.layer(user)))
        .route("/users/", get(answer.layer(list)))
        .route("/search", get(answer.layer(search)))
}
// ANCHOR_END: keys

// ANCHOR: personal
fn account(cachify: &Cachify) -> Router {
    let per_user = CacheLayer::new(cachify, "account-{header.authorization}");
    Router::new().route("/account", get(answer.layer(per_user)))
}
// ANCHOR_END: personal

// ANCHOR: stale
fn prices(cachify: &Cachify) -> Router {
    let cached = CacheLayer::new(cachify, "prices").ttl("1m").stale("1h");
    Router::new().route("/prices", get(answer.layer(cached)))
}
// ANCHOR_END: stale

// ANCHOR: reset
#[cached(key = "find_user-{user_id}", with = cachify)]
async fn find_user(cachify: &Cachify, user_id: i64) -> String {
    format!("user {user_id}")
}

async fn forget(State(cachify): State<Cachify>, Path(user_id): Path<i64>) -> Result<(), Problem> {
    cachify.reset(&key!("read_user-{user_id}")).await?; // the route
    find_user::reset(&cachify, &user_id).await?; // the function below it
    Ok(())
}
// ANCHOR_END: reset

async fn answer() -> &'static str {
    "answer"
}

#[path = "../examples/client.rs"]
mod client;

mod tests {
    use super::client::{ask, get as fetch, get_with};
    use super::*;
    use axum::routing::delete;

    #[tokio::test]
    async fn keys_tell_apart_what_they_name() {
        let app = routes(&Cachify::memory());
        let is_hit = async |path: &str| fetch(&app, path).await.1.contains("hit");
        assert!(!is_hit("/users/?a=1&b=2").await);
        assert!(is_hit("/users/?b=2&a=1").await);
        assert!(!is_hit("/users/?a=1").await);
        assert!(!is_hit("/users/7").await);
        assert!(is_hit("/users/7?ignored=1").await);
        // Without the header the key is not filled.
        assert!(!is_hit("/search?text=a").await);
        assert!(!is_hit("/search?text=a").await);
    }

    #[tokio::test]
    async fn a_named_header_makes_entries_of_its_own() {
        let app = account(&Cachify::memory());
        let status = async |who: &str| get_with(&app, "/account", ("authorization", who)).await.1;
        assert_eq!(status("Ann").await, "cachify; fwd=uri-miss; stored");
        assert!(status("Ann").await.contains("hit"));
        assert_eq!(status("Bob").await, "cachify; fwd=uri-miss; stored");

        let app = routes(&Cachify::memory());
        for _ in 0..2 {
            let (_, status, _) = get_with(&app, "/users/7", ("authorization", "Ann")).await;
            assert_eq!(status, "cachify; fwd=bypass; detail=authorization");
        }
    }

    #[tokio::test]
    async fn an_expired_response_is_served_stale() {
        let cachify = Cachify::memory();
        let app = prices(&cachify);
        assert_eq!(
            fetch(&app, "/prices").await.1,
            "cachify; fwd=uri-miss; stored"
        );
        cachify.expire(&key!("prices")).await.unwrap();
        assert!(fetch(&app, "/prices").await.1.contains("hit; ttl="));
    }

    #[tokio::test]
    async fn one_handler_resets_both() {
        let cachify = Cachify::memory();
        let app = routes(&cachify);
        fetch(&app, "/users/7").await;
        find_user(&cachify, 7).await;
        let forget = Router::new().route("/users/{user_id}", delete(forget));
        let forget = forget.with_state(cachify.clone());
        assert_eq!(ask(&forget, "DELETE", "/users/7", "").await.0, 200);
        assert_eq!(
            fetch(&app, "/users/7").await.1,
            "cachify; fwd=uri-miss; stored"
        );
        assert_eq!(find_user::get(&cachify, &7).await.unwrap(), None);
    }
}
