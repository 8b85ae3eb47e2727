//! Sends requests to an app without a socket.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "not every example asks for all of it"
)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use tower::ServiceExt;

/// The status, `Cache-Status` and body of a response.
pub type Answer = (u16, String, String);

pub async fn ask(app: &Router, method: &str, path: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let Ok(response) = app.clone().oneshot(request).await;
    read(response).await
}

pub async fn get(app: &Router, path: &str) -> Answer {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let Ok(response) = app.clone().oneshot(request).await;
    read(response).await
}

pub async fn get_with(app: &Router, path: &str, header: (&str, &str)) -> Answer {
    let request = Request::get(path).header(header.0, header.1);
    let request = request.body(Body::empty()).unwrap();
    let Ok(response) = app.clone().oneshot(request).await;
    read(response).await
}

async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let cache = parts.headers.get("cache-status");
    let cache = cache.map_or("", |value| value.to_str().unwrap());
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (parts.status.as_u16(), cache.to_owned(), body)
}

/// Returns an app whose user 1 is Ann.
pub async fn with_ann(app: Router) -> Router {
    let (status, ..) = ask(&app, "POST", "/users/", r#"{"name": "Ann"}"#).await;
    assert_eq!(status, StatusCode::CREATED);
    app
}

pub const ANN: &str = r#"{"id":1,"name":"Ann"}"#;
