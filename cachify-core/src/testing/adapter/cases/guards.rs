//! Guards and permits as arguments of a handler.

use std::time::{Duration, Instant};

use super::{Adapter, FULL, LOCKED, Problem, RUNNING, assert_problem, soon};

const KINDS: [(&str, usize, Problem); 3] =
    [("lock", 1, LOCKED), ("once", 1, RUNNING), ("pool", 2, FULL)];

pub async fn h5_a_guard_is_refused_where_it_is_taken(adapter: &Adapter) {
    let app = adapter.start().await;
    for (kind, places, problem) in KINDS {
        app.probe.shut(kind);
        let line = format!("PUT /guard/{kind}/{kind}");
        let mut holders = Vec::new();
        for _ in 0..places {
            holders.push(app.server.send(&line, &[]).await);
        }
        app.probe.until_called(kind, places).await;
        let begin = Instant::now();
        assert_problem(&app.server.ask(&line, &[]).await, problem);
        assert!(begin.elapsed() < Duration::from_secs(2), "it waits");
        let other = format!("PUT /guard/{kind}/other");
        assert_eq!(app.server.ask(&other, &[]).await.status, 200);
        app.probe.open(kind, places);
        for holder in holders {
            assert_eq!(holder.answer().await.status, 200);
        }
        assert_eq!(app.probe.calls(kind), places, "a refused one ran");
    }
}

pub async fn h5_a_guard_is_held_until_the_handler_is_done(adapter: &Adapter) {
    let app = adapter.start().await;
    for (kind, places, _) in KINDS {
        for abandoned in [false, true] {
            let name = format!("{kind}-{abandoned}");
            let line = format!("PUT /guard/{kind}/{name}");
            app.probe.shut(&name);
            let mut holders = Vec::new();
            for _ in 0..places {
                holders.push(app.server.send(&line, &[]).await);
            }
            app.probe.until_called(&name, places).await;
            assert_ne!(app.server.ask(&line, &[]).await.status, 200, "{line}");
            if abandoned {
                holders.clear();
                app.probe.until_dropped(&name, places).await;
            }
            app.probe.open(&name, 100);
            for holder in holders {
                assert_eq!(holder.answer().await.status, 200);
            }
            // The release happens in the background.
            soon("a release", async {
                while app.server.ask(&line, &[]).await.status != 200 {}
            })
            .await;
        }
    }
}

pub async fn k3_a_guard_excludes_the_layers_of_its_key(adapter: &Adapter) {
    let app = adapter.start().await;
    app.probe.shut("k");
    let holder = app.server.send("PUT /guard/lock/k", &[]).await;
    app.probe.until_called("k", 1).await;
    assert!(app.is_locked("hold-k").await);
    for (line, problem) in [
        ("PUT /lock/k", LOCKED),
        ("PUT /once/k", RUNNING),
        ("PUT /guard/once/k", RUNNING),
    ] {
        assert_problem(&app.server.ask(line, &[]).await, problem);
    }
    // A pool of the same key is independent of the lock.
    app.probe.open("k", 2);
    assert_eq!(app.server.ask("PUT /pool/k", &[]).await.status, 200);
    assert_eq!(holder.answer().await.status, 200);
    app.until_free("hold-k").await;
}
