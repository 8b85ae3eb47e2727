//! Computations under way: clients that disconnect, resets, other processes.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{HIT, MISS, STORED, ask, cache, check, probe, reset, runs, until};
use crate::Launch;

pub async fn h6_s34_a_client_that_goes_away_passes_its_computation_on(launch: Launch) {
    let app = probe(launch).await;
    let slow = [("x-delay", "1500")];
    let leader = tokio::spawn(ask(&app, "GET /page/g", &slow).send());
    until(&app, "g", 1).await;
    let mut waiters = JoinSet::new();
    for _ in 0..5 {
        waiters.spawn(ask(&app, "GET /page/g", &[("x-delay", "100")]).send());
    }
    // They should be waiting when it disconnects. A request that comes later only weakens the test.
    tokio::time::sleep(Duration::from_millis(300)).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    for waiter in waiters.join_all().await {
        assert_eq!(waiter.unwrap().text().await.unwrap(), "g 2");
    }
    check(&app, &[("GET /page/g", &[], 200, HIT, "g 2", &[])]).await;
}

pub async fn h6_a_detached_computation_finishes_and_fills(launch: Launch) {
    let app = probe(launch).await;
    let client = ask(&app, "GET /detached/d", &[("x-delay", "500")]);
    let client = tokio::spawn(client.send());
    until(&app, "d", 1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    let next = ask(&app, "GET /detached/d", &[]).send().await.unwrap();
    assert_eq!(next.text().await.unwrap(), "d 1");
}

pub async fn c4_a_read_in_flight_does_not_outlive_a_reset(launch: Launch) {
    let app = probe(launch).await;
    let slow = [("x-delay", "500")];
    let slow = tokio::spawn(ask(&app, "GET /page/f", &slow).send());
    until(&app, "f", 1).await;
    reset(&app, "f").await;
    check(&app, &[("GET /page/f", &[], 200, STORED, "f 2", &[])]).await;
    let slow = slow.await.unwrap().unwrap();
    assert_eq!(cache(&slow), MISS);
    assert_eq!(slow.text().await.unwrap(), "f 1");
    check(&app, &[("GET /page/f", &[], 200, HIT, "f 2", &[])]).await;
}

pub async fn c3_two_processes_compute_once(launch: Launch) {
    let launch = launch.of_probe();
    let apps = [launch.start().await, launch.start().await];
    let mut clients = JoinSet::new();
    for n in 0..40 {
        let request = ask(&apps[n % 2], "GET /page/cold", &[("x-delay", "400")]);
        clients.spawn(async { request.send().await.unwrap().text().await.unwrap() });
    }
    for text in clients.join_all().await {
        assert_eq!(text, "cold 1");
    }
    assert_eq!(
        runs(&apps[0], "cold").await + runs(&apps[1], "cold").await,
        1
    );
}

pub async fn c4_a_read_in_flight_elsewhere_does_not_outlive_a_reset(launch: Launch) {
    let launch = launch.of_probe();
    let (here, there) = (launch.start().await, launch.start().await);
    let slow = ask(&there, "GET /page/f", &[("x-delay", "500")]);
    let slow = tokio::spawn(slow.send());
    until(&there, "f", 1).await;
    reset(&here, "f").await;
    check(
        &here,
        &[
            ("POST /page/f", &[], 200, "cachify; fwd=method", "f 1", &[]),
            ("GET /page/f", &[], 200, STORED, "f 2", &[]),
        ],
    )
    .await;
    check(&there, &[("GET /page/f", &[], 200, HIT, "f 2", &[])]).await;
    assert_eq!(
        cache(&slow.await.unwrap().unwrap()),
        MISS,
        "it was overtaken"
    );
    check(&there, &[("GET /page/f", &[], 200, HIT, "f 2", &[])]).await;
}
