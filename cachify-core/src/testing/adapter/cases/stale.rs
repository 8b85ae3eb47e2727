//! Responses that are served after their lifetime.

use super::{Adapter, App, HIT, STORED, check, key, soon};

/// Failures only: it is never served while a refresh runs.
const IF_ERROR: (&str, &str) = (
    "x-answer-cache-control",
    "max-age=300, stale-while-revalidate=0, stale-if-error=60",
);

async fn expire(app: &App, text: &str) {
    app.cachify.expire(&key(text)).await.unwrap();
}

pub async fn c9_h3_a_stale_response_is_served_while_one_process_refreshes(adapter: &Adapter) {
    let (here, there) = (adapter.start().await, adapter.start().await);
    let line = "GET /stale/s";
    check(&here, &[(line, &[], 200, STORED, "s 1", &[])]).await;
    expire(&here, "stale-s").await;
    here.probe.shut("s");
    for _ in 0..3 {
        check(&here, &[(line, &[], 200, HIT, "s 1", &[])]).await;
    }
    here.probe.until_called("s", 2).await;
    assert!(here.probe.is_scoped("s"), "the scope goes along");
    check(&there, &[(line, &[], 200, HIT, "s 1", &[])]).await;
    here.probe.open("s", 1);
    soon("a refresh", async {
        while here.server.get("/stale/s").await.text() == "s 1" {}
    })
    .await;
    for app in [&here, &there] {
        check(app, &[(line, &[], 200, HIT, "s 2", &[])]).await;
    }
    assert_eq!((here.probe.calls("s"), there.probe.calls("s")), (2, 0));
}

#[rustfmt::skip] // A row is a line.
pub async fn c9_s9_a_failure_is_answered_with_the_stale_response_until_a_reset(adapter: &Adapter) {
    let app = adapter.start().await;
    let fails = [("x-status", "503")];
    let failed = "cachify; fwd=stale; fwd-status=503";
    check(&app, &[("GET /page/e", &[IF_ERROR], 200, STORED, "e 1", &[])]).await;
    expire(&app, "page-e").await;
    check(&app, &[("GET /page/e", &fails, 200, failed, "e 1", &[])]).await;
    app.reset("page-e").await;
    let answer = app.server.ask("GET /page/e", &fails).await;
    assert_eq!(answer.brief(), (503, "e 3"));
}

pub async fn c9_c4_a_refresh_does_not_outlive_a_reset(adapter: &Adapter) {
    let app = adapter.start().await;
    let line = "GET /stale/r";
    check(&app, &[(line, &[], 200, STORED, "r 1", &[])]).await;
    expire(&app, "stale-r").await;
    app.probe.shut("r");
    check(&app, &[(line, &[], 200, HIT, "r 1", &[])]).await;
    app.probe.until_called("r", 2).await;
    app.reset("stale-r").await;
    let fresh = app.server.send(line, &[]).await;
    app.probe.until_called("r", 3).await;
    app.probe.open("r", 2);
    assert_eq!(fresh.answer().await.text(), "r 3");
    check(&app, &[(line, &[], 200, HIT, "r 3", &[])]).await;
}

#[rustfmt::skip] // A row is a line.
pub async fn c9_h3_head_and_conditions_are_answered_from_a_stale_response(adapter: &Adapter) {
    let app = adapter.start().await;
    let tag = [("x-answer-etag", "\"v1\"")];
    check(&app, &[("GET /stale/h", &tag, 200, STORED, "h 1", &[])]).await;
    expire(&app, "stale-h").await;
    check(&app, &[("HEAD /stale/h", &[], 200, HIT, "", &[("content-length", Some("3"))])]).await;
    app.probe.shut("h");
    check(&app, &[("GET /stale/h", &[("if-none-match", "\"v1\"")], 304, HIT, "", &[])]).await;
}
