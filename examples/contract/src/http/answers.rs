//! Headers of the answers, conditions and ranges.

use tokio::task::JoinSet;

use super::{HIT, MISS, STORED, ask, check, probe, until};
use crate::Launch;

#[rustfmt::skip] // A row is a line.
pub async fn h3_s31_head_is_answered_from_the_entry_and_never_fills(launch: Launch) {
    let app = probe(launch).await;
    check(
        &app,
        &[
            ("HEAD /page/a", &[], 200, MISS, "", &[]),
            ("HEAD /page/a", &[], 200, MISS, "", &[]),
            ("GET /page/a", &[], 200, STORED, "a 3", &[]),
            ("HEAD /page/a", &[], 200, HIT, "", &[("content-length", Some("3"))]),
            ("HEAD /page/a", &[("if-none-match", "*")], 304, HIT, "", &[]),
            ("HEAD /page/a", &[("range", "bytes=0-0")], 200, HIT, "", &[("content-length", Some("3"))]),
            ("GET /page/a", &[], 200, HIT, "a 3", &[("content-length", Some("3"))]),
        ],
    )
    .await;
}

#[rustfmt::skip] // A row is a line.
pub async fn h3_conditions_and_ranges_are_answered_from_the_entry(launch: Launch) {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let app = probe(launch).await;
    let told = [
        ("x-answer-etag", "W/\"v1\""),
        ("x-answer-last-modified", DATE),
        ("x-answer-cache-control", "max-age=60"),
        ("x-answer-connection", "x-hop"),
        ("x-answer-x-hop", "1"),
        ("x-answer-x-end", "1"),
        ("x-answer-cache-status", "closer; hit"),
    ];
    let told: Vec<_> = told
        .into_iter()
        .chain([("range", "bytes=0-0"), ("if-none-match", "\"v0\"")])
        .collect();
    let stays = [
        ("etag", Some("W/\"v1\"")),
        ("last-modified", Some(DATE)),
        ("cache-control", Some("max-age=60")),
        ("cache-status", Some("closer; hit")),
        ("x-hop", None),
        ("x-end", Some("1")),
    ];
    let bodiless = [
        ("content-type", None),
        ("content-length", None),
        ("etag", Some("W/\"v1\"")),
    ];
    let none = [("content-range", Some("bytes */3")), ("content-type", None)];
    check(
        &app,
        &[
            // The first client's condition is evaluated on an answer made for all.
            ("GET /page/c", &told, 206, STORED, "c", &stays),
            ("GET /page/c", &[], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[("if-none-match", "\"v1\"")], 304, HIT, "", &bodiless),
            ("GET /page/c", &[("if-none-match", "\"v0\", W/\"v1\"")], 304, HIT, "", &bodiless),
            ("GET /page/c", &[("if-none-match", "\"v2\"")], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[("if-modified-since", DATE)], 304, HIT, "", &bodiless),
            ("GET /page/c", &[("if-modified-since", "never")], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[("range", "bytes=1-")], 206, HIT, " 1", &[("content-range", Some("bytes 1-2/3"))]),
            ("GET /page/c", &[("range", "bytes=-1")], 206, HIT, "1", &[("content-length", Some("1"))]),
            ("GET /page/c", &[("range", "bytes=0-0,2-2")], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[("range", "bytes=9-")], 416, HIT, "", &none),
            // A weak tag does not justify sending a part.
            ("GET /page/c", &[("range", "bytes=0-0"), ("if-range", "W/\"v1\"")], 200, HIT, "c 1", &stays),
            ("GET /page/c", &[("range", "bytes=0-0"), ("if-range", DATE)], 206, HIT, "c", &[]),
        ],
    )
    .await;
}

pub async fn h3_s28_a_leaders_condition_is_answered_to_nobody_else(launch: Launch) {
    let app = probe(launch).await;
    let leader = [("x-delay", "500"), ("if-none-match", "*")];
    let leader = tokio::spawn(ask(&app, "GET /page/s", &leader).send());
    until(&app, "s", 1).await;
    let mut waiters = JoinSet::new();
    for _ in 0..10 {
        let request = ask(&app, "GET /page/s", &[]);
        waiters.spawn(async {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        });
    }
    assert_eq!(leader.await.unwrap().unwrap().status(), 304);
    for waiter in waiters.join_all().await {
        assert_eq!(waiter, (200, "s 1".to_owned()));
    }
}

#[rustfmt::skip] // A row is a line.
pub async fn h3_a_reload_is_heard_where_the_route_listens(launch: Launch) {
    let app = probe(launch).await;
    let fresh = "cachify; fwd=request; stored";
    let unstored = "cachify; fwd=request";
    check(
        &app,
        &[
            ("GET /listen/l", &[], 200, STORED, "l 1", &[]),
            ("GET /listen/l", &[("cache-control", "no-cache")], 200, fresh, "l 2", &[]),
            ("GET /listen/l", &[("cache-control", "max-age=0")], 200, fresh, "l 3", &[]),
            ("GET /listen/l", &[("cache-control", "no-store")], 200, unstored, "l 4", &[]),
            ("GET /listen/l", &[], 200, HIT, "l 3", &[]),
        ],
    )
    .await;
}

pub async fn h3_an_answer_says_how_long_it_will_be_kept(launch: Launch) {
    let app = probe(launch).await;
    for (name, value, most) in [
        ("x-answer-x", "x", 300),
        ("x-answer-cache-control", "max-age=60", 60),
        ("x-answer-cache-control", "max-age=60, s-maxage=30", 30),
        ("x-answer-cache-control", "max-age=6000", 300),
    ] {
        let line = format!("GET /page/ttl{most}{}", value.len());
        ask(&app, &line, &[(name, value)]).send().await.unwrap();
        let hit = ask(&app, &line, &[]).send().await.unwrap();
        let said = hit.headers()["cache-status"].to_str().unwrap();
        let left = said.strip_prefix("cachify; hit; ttl=").expect(said);
        let left: u64 = left.parse().unwrap();
        assert!((most - 10..=most).contains(&left), "{value}: {said}");
    }
}
