//! Answers that differ by a request header.

use super::{HIT, STORED, ask, cache, check, probe, reset, until};
use crate::Launch;

#[rustfmt::skip] // A row is a line.
pub async fn h2_s30_variants_are_apart_and_one_reset_clears_them(launch: Launch) {
    let app = probe(launch).await;
    let (en, de) = (variant("en"), variant("de"));
    for (round, key) in [(0, STORED), (1, STORED)] {
        let (first, second) = (
            format!("en {}", 2 * round + 1),
            format!("de {}", 2 * round + 2),
        );
        let vary = [("vary", Some("Accept-Language"))];
        let other = "cachify; fwd=vary-miss; stored";
        check(
            &app,
            &[
                ("GET /page/v", &en, 200, key, &first, &vary),
                ("GET /page/v", &de, 200, other, &second, &vary),
                ("GET /page/v", &en, 200, HIT, &first, &vary),
                ("HEAD /page/v", &de, 200, HIT, "", &vary),
                ("GET /page/v", &de, 200, HIT, &second, &vary),
            ],
        )
        .await;
        reset(&app, "v").await;
    }
}

fn variant(language: &str) -> [(&str, &str); 3] {
    [
        ("accept-language", language),
        ("x-body", "language"),
        ("x-answer-vary", "Accept-Language"),
    ]
}

pub async fn h2_c4_a_variant_in_flight_does_not_outlive_a_reset(launch: Launch) {
    let app = probe(launch).await;
    for (n, warm) in [(1, false), (3, true)] {
        let name = format!("w{n}");
        let line = format!("GET /page/{name}");
        if warm {
            ask(&app, &line, &variant("en")).send().await.unwrap();
        }
        let slow = ask(&app, &line, &variant("de")).header("x-delay", "500");
        let slow = tokio::spawn(slow.send());
        until(&app, &name, if warm { 2 } else { 1 }).await;
        reset(&app, &name).await;
        let fresh = ask(&app, &line, &variant("de")).send().await.unwrap();
        let fresh = fresh.text().await.unwrap();
        assert_eq!(fresh, if warm { "de 3" } else { "de 2" });
        slow.await.unwrap().unwrap();
        let again = ask(&app, &line, &variant("de")).send().await.unwrap();
        assert_eq!(
            (cache(&again).as_str(), again.text().await.unwrap()),
            (HIT, fresh)
        );
    }
}

#[rustfmt::skip] // A row is a line.
pub async fn h2_another_process_finds_the_variants_and_resets_them(launch: Launch) {
    let launch = launch.of_probe();
    let (here, there) = (launch.start().await, launch.start().await);
    let (en, de) = (variant("en"), variant("de"));
    check(&here, &[("GET /page/v", &en, 200, STORED, "en 1", &[])]).await;
    check(
        &there,
        &[
            ("GET /page/v", &en, 200, HIT, "en 1", &[]),
            ("GET /page/v", &de, 200, "cachify; fwd=vary-miss; stored", "de 1", &[]),
        ],
    )
    .await;
    reset(&there, "v").await;
    check(&here, &[("GET /page/v", &de, 200, STORED, "de 2", &[])]).await;
}
