//! Routes that run under a lock, once, or under a permit.

use std::time::{Duration, Instant};

use futures_util::future::{Either, select};

use super::{
    AWAY, Adapter, FULL, LOCKED, LOST, METHOD, MISS, Problem, RUNNING, STORED, assert_problem,
    check, key, soon,
};
use crate::Cachify;
use crate::testing::{Fault, Op};

/// The routes, the number of requests that they run at a time, and the problem that refuses more.
const KINDS: [(&str, usize, Problem); 3] =
    [("lock", 1, LOCKED), ("once", 1, RUNNING), ("pool", 2, FULL)];

pub async fn h5_what_is_taken_is_refused_in_the_same_words(adapter: &Adapter) {
    let app = adapter.start().await;
    for (kind, places, problem) in KINDS {
        app.probe.shut(kind);
        let line = format!("PUT /{kind}/{kind}");
        let mut holders = Vec::new();
        for _ in 0..places {
            holders.push(app.server.send(&line, &[]).await);
        }
        app.probe.until_called(kind, places).await;
        let begin = Instant::now();
        assert_problem(&app.server.ask(&line, &[]).await, problem);
        assert!(begin.elapsed() < Duration::from_secs(2), "it waits");
        let other = app.server.ask(&format!("PUT /{kind}/other"), &[]).await;
        assert_eq!(other.status, 200, "another key is independent");
        app.probe.open(kind, places + 1);
        for holder in holders {
            assert_eq!(holder.answer().await.status, 200);
        }
        // The lock or permit is released before the answer.
        assert_eq!(app.server.ask(&line, &[]).await.status, 200);
        assert_eq!(app.probe.calls(kind), places + 1, "a refused one ran");
    }
}

pub async fn h5_each_refusal_can_be_replaced(adapter: &Adapter) {
    let (cachify, backend) = adapter.stage.faulty();
    let app = adapter.start_over(cachify).await;
    let lock = app.cachify.lock(&key("hold-x")).acquire().await.unwrap();
    let permit = app.cachify.pool(&key("hold-x"), 1).acquire().await.unwrap();
    for kind in ["lock", "once", "pool"] {
        let line = format!("PUT /replaced/{kind}/x");
        assert_eq!(app.server.ask(&line, &[]).await.brief(), (226, "busy"));
    }
    lock.release().await.unwrap();
    permit.release().await.unwrap();
    backend.fail(Op::Acquire, Fault::Refuse);
    for kind in ["lock", "once", "pool"] {
        let line = format!("PUT /replaced/{kind}/x");
        let answer = app.server.ask(&line, &[]).await;
        assert_eq!(answer.brief(), (502, "unavailable"));
    }
    assert_eq!(app.probe.calls("x"), 0);
}

pub async fn h5_l7_without_its_backend_locks_are_refused_and_pages_served(adapter: &Adapter) {
    for fault in [Fault::Refuse, Fault::Hang] {
        let (cachify, backend) = adapter.stage.faulty();
        let app = adapter.start_over(cachify).await;
        check(&app, &[("GET /page/a", &[], 200, STORED, "a 1", &[])]).await;
        backend.fail_all(fault);
        for (kind, ..) in KINDS {
            let refused = app.server.ask(&format!("PUT /{kind}/k"), &[]).await;
            assert_problem(&refused, AWAY);
        }
        check(&app, &[("GET /page/a", &[], 200, MISS, "a 2", &[])]).await;
        assert_eq!(app.probe.calls("k"), 0);
        backend.heal();
        soon("the backend is found again", async {
            while app.server.ask("PUT /lock/k", &[]).await.status != 200 {}
        })
        .await;
        app.reset("page-a").await;
    }
}

pub async fn h5_what_was_held_is_given_back_before_the_answer(adapter: &Adapter) {
    for (kind, ..) in KINDS {
        let (cachify, backend) = adapter.stage.faulty();
        let app = adapter.start_over(cachify).await;
        let release = backend.before(Op::Release);
        let line = format!("PUT /{kind}/k");
        let client = app.server.send(&line, &[]).await;
        let answered = Box::pin(client.answer());
        let Either::Right(((), answered)) = select(answered, Box::pin(release.reached())).await
        else {
            panic!("{kind}: answered before")
        };
        release.open();
        assert_eq!(answered.await.brief(), (200, "k 1"));
    }
}

pub async fn h6_a_client_that_goes_away_releases_what_its_request_held(adapter: &Adapter) {
    let app = adapter.start().await;
    for (kind, places, problem) in KINDS {
        app.probe.shut(kind);
        let line = format!("PUT /{kind}/{kind}");
        let mut holders = Vec::new();
        for _ in 0..places {
            holders.push(app.server.send(&line, &[]).await);
        }
        app.probe.until_called(kind, places).await;
        assert_problem(&app.server.ask(&line, &[]).await, problem);
        holders.clear();
        app.probe.until_dropped(kind, places).await;
        app.probe.open(kind, 100);
        // The release happens in the background.
        soon("a release", async {
            while app.server.ask(&line, &[]).await.status != 200 {}
        })
        .await;
    }
}

pub async fn l2_a_route_waits_as_long_as_it_says(adapter: &Adapter) {
    let app = adapter.start().await;
    app.probe.shut("p");
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(app.server.send("PUT /patient/p", &[]).await);
    }
    for n in 1..=5 {
        app.probe.until_called("p", n).await;
        assert_eq!(app.probe.calls("p"), n);
        app.probe.open("p", 1);
    }
    for client in clients {
        assert_eq!(client.answer().await.status, 200);
    }
}

pub async fn l4_a_route_that_loses_its_lock_stops_the_handler(adapter: &Adapter) {
    let app = adapter.start().await;
    for (name, route) in [("a", "short"), ("b", "replaced/lock")] {
        app.probe.shut(name);
        let line = format!("PUT /{route}/{name}");
        let client = app.server.send(&line, &[]).await;
        app.probe.until_called(name, 1).await;
        let lock = app.cachify.lock(&key(&format!("hold-{name}")));
        assert!(lock.force_release().await.unwrap());
        let answer = client.answer().await;
        match route {
            "short" => assert_problem(&answer, LOST),
            _ => assert_eq!(answer.brief(), (502, "lost")),
        }
        app.probe.until_dropped(name, 1).await;
    }
}

pub async fn p1_l6_a_slow_upload_costs_others_nothing(adapter: &Adapter) {
    let app = adapter.start().await;
    for guard in ["", "guard/"] {
        for (kind, places, _) in KINDS {
            let name = format!("{}{kind}", guard.trim_end_matches('/'));
            let line = format!("PUT /{guard}{kind}/{name}");
            let mut slow = Vec::new();
            for _ in 0..places {
                slow.push(app.server.upload(&line, None).await);
            }
            let other = app.server.ask(&line, &[("x-body", "echo")]).await;
            assert_eq!(other.brief(), (200, ""), "{line}");
            assert_eq!(app.probe.calls(&name), 1, "the slow ones have not begun");
            // The slow requests are served when the rest of their bodies arrives, one after the
            // other.
            for mut call in slow {
                // A guard is released in the background.
                app.until_free(&format!("hold-{name}")).await;
                call.write(&"x".repeat(32)).await;
                assert_eq!(call.answer().await.status, 200, "{line}");
            }
        }
    }
}

pub async fn l3_p1_a_streamed_upload_is_bounded_by_max_hold(adapter: &Adapter) {
    let app = adapter.start().await;
    let stalled = app.server.upload("PUT /streamed/s", None).await;
    assert!(app.is_locked("hold-s").await);
    assert_problem(&stalled.answer().await, LOST);
    assert!(!app.is_locked("hold-s").await);
    assert_eq!(app.probe.calls("s"), 0);
    let hello = app
        .server
        .ask_with("PUT /streamed/s", &[("x-body", "echo")], "hello");
    assert_eq!(hello.await.brief(), (200, "hello"));
}

pub async fn h5_o1_an_error_of_the_handlers_own_lock_is_its_answer(adapter: &Adapter) {
    let app = adapter.start().await;
    assert_eq!(app.server.ask("PUT /own/lock/x", &[]).await.status, 200);
    let _guard = app.cachify.lock(&key("own-x")).acquire().await.unwrap();
    for (kind, problem) in [("lock", LOCKED), ("once", RUNNING)] {
        // The error is the handler's own, not the route's, which has another answer.
        let answer = app.server.ask(&format!("PUT /own/{kind}/x"), &[]).await;
        assert_problem(&answer, problem);
    }
    assert_eq!(app.server.ask("PUT /own/once/y", &[]).await.status, 200);
}

pub async fn scope_is_the_handle_of_each_request(adapter: &Adapter) {
    let app = adapter.start().await;
    for (line, word) in [
        ("GET /page/a", STORED),
        ("POST /page/b", METHOD),
        ("PUT /lock/c", ""),
        ("PUT /plain/d", ""),
    ] {
        let answer = app.server.ask(line, &[]).await;
        assert_eq!((answer.status, answer.cache()), (200, word), "{line}");
        assert!(app.probe.is_scoped(&line[line.len() - 1..]), "{line}");
    }
    assert!(Cachify::current().is_none());
}
