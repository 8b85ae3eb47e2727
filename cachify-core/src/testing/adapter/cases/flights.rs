//! Computations under way: clients that disconnect, resets, and other processes.

use super::{Adapter, HIT, METHOD, MISS, STORED, check};

pub async fn c2_requests_at_once_are_one_call(adapter: &Adapter) {
    let app = adapter.start().await;
    app.probe.shut("one");
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(app.server.send("GET /page/one", &[]).await);
    }
    app.until_waiting("page-one", 31).await;
    app.probe.open("one", 32);
    for client in clients {
        assert_eq!(client.answer().await.brief(), (200, "one 1"));
    }
}

pub async fn c3_two_processes_compute_once(adapter: &Adapter) {
    let apps = [adapter.start().await, adapter.start().await];
    let mut clients = Vec::new();
    for app in &apps {
        app.probe.shut("cold");
        for _ in 0..20 {
            clients.push(app.server.send("GET /page/cold", &[]).await);
        }
        app.until_waiting("page-cold", 19).await;
    }
    for app in &apps {
        app.probe.open("cold", 20);
    }
    for client in clients {
        assert_eq!(client.answer().await.text(), "cold 1");
    }
    let calls = apps.map(|app| app.probe.calls("cold"));
    assert_eq!(calls[0] + calls[1], 1);
}

pub async fn h6_s34_a_client_that_goes_away_passes_its_computation_on(adapter: &Adapter) {
    let app = adapter.start().await;
    app.probe.shut("g");
    let leader = app.server.send("GET /page/g", &[]).await;
    app.probe.until_called("g", 1).await;
    let mut waiters = Vec::new();
    for _ in 0..5 {
        waiters.push(app.server.send("GET /page/g", &[]).await);
    }
    app.until_waiting("page-g", 5).await;
    drop(leader);
    app.probe.until_dropped("g", 1).await;
    app.probe.until_called("g", 2).await;
    app.probe.open("g", 5);
    for waiter in waiters {
        assert_eq!(waiter.answer().await.brief(), (200, "g 2"));
    }
    check(&app, &[("GET /page/g", &[], 200, HIT, "g 2", &[])]).await;
}

pub async fn h6_a_computation_finishes_and_fills_after_a_disconnect(adapter: &Adapter) {
    let app = adapter.start().await;
    app.probe.shut("d");
    let client = app.server.send("GET /detached/d", &[]).await;
    app.probe.until_called("d", 1).await;
    assert!(app.probe.is_scoped("d"), "the scope goes along");
    drop(client);
    let waiter = app.server.send("GET /detached/d", &[]).await;
    app.until_waiting("detached-d", 1).await;
    app.probe.open("d", 1);
    assert_eq!(waiter.answer().await.text(), "d 1");
    check(&app, &[("GET /detached/d", &[], 200, HIT, "d 1", &[])]).await;
}

pub async fn c4_a_read_in_flight_does_not_outlive_a_reset(adapter: &Adapter) {
    let app = adapter.start().await;
    app.probe.shut("f");
    let slow = app.server.send("GET /page/f", &[]).await;
    app.probe.until_called("f", 1).await;
    app.reset("page-f").await;
    let fresh = app.server.send("GET /page/f", &[]).await;
    app.probe.until_called("f", 2).await;
    app.probe.open("f", 2);
    let (fresh, slow) = (fresh.answer().await, slow.answer().await);
    assert_eq!((fresh.text(), fresh.cache()), ("f 2", STORED));
    assert_eq!((slow.text(), slow.cache()), ("f 1", MISS));
    check(&app, &[("GET /page/f", &[], 200, HIT, "f 2", &[])]).await;
}

pub async fn c4_a_read_in_flight_elsewhere_does_not_outlive_a_reset(adapter: &Adapter) {
    let (here, there) = (adapter.start().await, adapter.start().await);
    there.probe.shut("f");
    let slow = there.server.send("GET /page/f", &[]).await;
    there.probe.until_called("f", 1).await;
    here.reset("page-f").await;
    check(
        &here,
        &[
            ("POST /page/f", &[], 200, METHOD, "f 1", &[]),
            ("GET /page/f", &[], 200, STORED, "f 2", &[]),
        ],
    )
    .await;
    check(&there, &[("GET /page/f", &[], 200, HIT, "f 2", &[])]).await;
    there.probe.open("f", 1);
    assert_eq!(slow.answer().await.cache(), MISS, "it was overtaken");
    check(&there, &[("GET /page/f", &[], 200, HIT, "f 2", &[])]).await;
}
