//! The cases: one function for each requirement on an app.

#![allow(missing_docs, reason = "their names say it")]

mod reads;
mod updates;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use self::{reads::*, updates::*};
use crate::Launch;
use crate::app::{answer, problem};

/// Runs a case.
///
/// # Panics
///
/// Panics if the case fails.
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(case);
}

fn ann(id: i64, name: &str) -> Value {
    json!({"id": id, "name": name, "email": "ann@example.com"})
}

pub async fn users_are_created_read_and_updated(launch: Launch) {
    let app = launch.start().await;
    let id = app.create("Ann").await;
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Ann")));
    assert_eq!(
        app.update(id, "Bob").await,
        (StatusCode::OK, ann(id, "Bob"))
    );
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
    assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, "Bob")));
}

pub async fn what_is_not_a_user_is_a_problem(launch: Launch) {
    let app = launch.start().await;
    let id = app.create("Ann").await;
    let ok = r#"{"name":"Ann","email":"ann@example.com"}"#;
    for (method, path, body, expected) in [
        ("GET", "/users/7777", "", 404),
        ("PUT", "/users/7777", ok, 404),
        ("GET", "/users/ann", "", 400),
        ("PUT", "/users/ann", ok, 400),
        ("GET", "/users/%ff", "", 400),
        ("PUT", "/users/%ff", ok, 400),
        ("GET", "/users/99999999999999999999", "", 400),
        // Other spellings of a number would be other keys.
        ("GET", "/users/01", "", 400),
        ("PUT", "/users/+1", ok, 400),
        ("PUT", "/users/1", "{", 400),
        ("PUT", "/users/1", r#"{"name":7}"#, 422),
        ("POST", "/users/", "", 400),
        ("POST", "/users/", "{", 400),
        ("POST", "/users/", "{}", 422),
        ("POST", "/users/", "[]", 422),
        ("POST", "/users/", r#"{"name":7,"email":"a@b"}"#, 422),
        ("POST", "/users/", r#"{"name":"","email":"a@b"}"#, 422),
        ("POST", "/users/", r#"{"name":"Ann","email":"ann"}"#, 422),
        ("POST", "/users/", &" ".repeat((2 << 20) + 1), 413),
        ("GET", "/nowhere", "", 404),
        ("DELETE", "/users/1", "", 405),
        ("POST", "/users/1", ok, 405),
        ("GET", "/users/", "", 405),
    ] {
        let request = app.request(method, path);
        let request = request.header("content-type", "application/json");
        let response = request.body(body.to_owned()).send().await.unwrap();
        let status = response.status().as_u16();
        assert_eq!(status, expected, "to {method} {path} {body:.80}");
        let allow = response.headers().get("allow");
        let allow = allow.map(|allow| allow.to_str().unwrap().replace(", ", ","));
        let allowed = match (expected, path) {
            (405, "/users/") => Some("POST"),
            (405, _) => Some("GET,HEAD,PUT"),
            _ => None,
        };
        assert_eq!(allow.as_deref(), allowed, "to {method} {path}");
        problem(response, status).await;
    }
    for content_type in ["text/plain", "application/jsonx", "application"] {
        let request = app.request("POST", "/users/");
        let request = request.header("content-type", content_type).body(ok);
        problem(request.send().await.unwrap(), 415).await;
    }
    assert_eq!(
        app.read(id).await.1,
        ann(id, "Ann"),
        "nothing of that did anything"
    );
}

pub async fn json_may_be_typed_and_sent_in_other_ways(launch: Launch) {
    let app = launch.start().await;
    let id = app.create("Ann").await;
    for content_type in [
        "application/json; charset=utf-8",
        "application/vnd.user+json",
    ] {
        let pieces = [r#"{"name":"Bob","#, r#""email":"ann@example.com"}"#];
        let [first, second] = pieces.map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
        let head = format!(
            "PUT /users/{id} HTTP/1.1\r\nhost: test\r\ncontent-type: {content_type}\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        let answer = app.raw(&format!("{head}{first}{second}0\r\n\r\n")).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{content_type}: {answer}"
        );
    }
}

pub async fn h3_a_user_is_read_as_http_reads(launch: Launch) {
    let app = launch.start().await;
    let id = app.create("Ann").await;
    let ask = async |method: &str, headers: &[(&str, &str)]| {
        let request = app.request(method, &format!("/users/{id}"));
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let response = request.send().await.unwrap();
        let said = response.headers()["cache-status"].to_str().unwrap();
        let said = said.split("; ttl=").next().unwrap().to_owned();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, said, headers, response.text().await.unwrap())
    };
    let (_, said, first, body) = ask("GET", &[]).await;
    assert_eq!(said, "cachify; fwd=uri-miss; stored");
    let length = body.len().to_string();
    let tag = first["etag"].to_str().unwrap().to_owned();
    for (method, headers, expected, text) in [
        ("HEAD", &[][..], 200, ""),
        ("GET", &[], 200, body.as_str()),
        ("GET", &[("cache-control", "no-cache")], 200, &body),
        ("GET", &[("if-none-match", tag.as_str())], 304, ""),
        ("GET", &[("if-none-match", "\"other\"")], 200, &body),
        ("GET", &[("range", "bytes=0-4")], 206, &body[..5]),
        ("GET", &[("range", "bytes=9999-")], 416, ""),
    ] {
        let (status, said, lines, found) = ask(method, headers).await;
        assert_eq!(
            (status, found.as_str()),
            (expected, text),
            "{method} {headers:?}"
        );
        assert_eq!(said, "cachify; hit", "{method} {headers:?}");
        assert_eq!(lines["etag"], *tag);
        if status == 200 {
            assert_eq!(lines["content-length"], *length);
            assert_eq!(lines["content-type"], first["content-type"]);
            let age: u64 = lines["age"].to_str().unwrap().parse().unwrap();
            assert!(age < 60, "{age}");
        }
    }
    for personal in ["cookie", "authorization"] {
        let (status, said, _, found) = ask("GET", &[(personal, "x=y")]).await;
        let expected = format!("cachify; fwd=bypass; detail={personal}");
        assert_eq!((status, said), (200, expected));
        assert_eq!(found, body);
    }
    // The tag belongs to the user before the update.
    assert_eq!(app.update(id, "Bob").await.0, StatusCode::OK);
    let (status, said, ..) = ask("GET", &[("if-none-match", &tag)]).await;
    assert_eq!(
        (status, said.as_str()),
        (200, "cachify; fwd=uri-miss; stored")
    );
}

pub async fn h1_an_absent_user_is_not_cached(launch: Launch) {
    let app = launch.start().await;
    let next = app.create("Ann").await + 1;
    assert_eq!(app.read(next).await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.read(next).await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.create("Bob").await, next);
    assert_eq!(app.read(next).await, (StatusCode::OK, ann(next, "Bob")));
}

pub async fn c1_a_hit_computes_nothing(launch: Launch) {
    let app = launch.start().await;
    let id = app.create("Ann").await;
    let path = format!("/users/{id}");
    let miss = app.request("GET", &path).send().await.unwrap();
    let status = miss.headers()["cache-status"].to_str().unwrap().to_owned();
    assert!(status.contains("stored"), "{status}");
    let miss = miss.text().await.unwrap();
    for _ in 0..10 {
        let hit = app.request("GET", &path).send().await.unwrap();
        let status = hit.headers()["cache-status"].to_str().unwrap();
        assert!(status.contains("; hit"), "{status}");
        assert_eq!(hit.text().await.unwrap(), miss);
    }
    assert_eq!(app.counter("users_reads_total").await, 1);
}

pub async fn the_api_describes_itself(launch: Launch) {
    let app = launch.start().await;
    let (status, api) = answer(app.request("GET", "/openapi.json")).await;
    assert_eq!(status, StatusCode::OK);
    for (path, method) in [
        ("/users/", "post"),
        ("/users/{user_id}", "get"),
        ("/users/{user_id}", "put"),
    ] {
        assert!(
            api["paths"][path][method].is_object(),
            "{method} {path} is not in {api}"
        );
    }
    for (path, text) in [
        ("/docs/", "<html"),
        ("/healthz", "ok"),
        ("/metrics", "users_reads_total 0"),
    ] {
        let head = app.request("HEAD", path).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK, "{path}");
        assert_eq!(head.text().await.unwrap(), "", "{path}");
        let response = app.request("GET", path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let body = response.text().await.unwrap();
        assert!(body.contains(text), "{path}: {body}");
    }
}

pub async fn s4_it_ends_when_asked_and_answers_first(launch: Launch) {
    let app = launch.flag("--delay", "500ms").start().await;
    let id = app.create("Ann").await;
    let read = tokio::spawn(answer(app.request("GET", &format!("/users/{id}"))));
    app.until("users_reads_total", 1).await;
    app.end().await;
    assert_eq!(read.await.unwrap(), (StatusCode::OK, ann(id, "Ann")));
}

pub async fn s4_half_a_request_does_not_keep_it_from_ending(launch: Launch) {
    let app = launch.flag("--grace", "100ms").start().await;
    let id = app.create("Ann").await;
    let _half = app.half_an_update(id).await;
    app.end().await;
}

pub async fn s4_a_second_signal_ends_it_at_once(launch: Launch) {
    let mut app = launch.flag("--grace", "1h").start().await;
    let id = app.create("Ann").await;
    let _half = app.half_an_update(id).await;
    app.signal().await;
    app.refuses_connections().await;
    app.end().await;
}

/// Another database has other users under the same ids, and a Redis can outlive a database.
pub async fn h9_a_new_database_does_not_meet_the_entries_of_an_old_one(launch: Launch) {
    for name in ["Ann", "Bob"] {
        let app = launch.start().await;
        let id = app.create(name).await;
        assert_eq!(app.read(id).await, (StatusCode::OK, ann(id, name)));
        app.end().await;
    }
}

/// Gives every process of a launch the same database.
fn shared_database(launch: Launch) -> (Launch, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (launch.flag("--database", &database(&directory)), directory)
}

fn database(directory: &TempDir) -> String {
    format!("sqlite://{}", directory.path().join("users.db").display())
}
