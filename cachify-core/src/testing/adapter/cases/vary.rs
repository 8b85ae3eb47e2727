//! Responses that differ by a header of the request.

use super::{Adapter, HIT, STORED, check};

const OTHER: &str = "cachify; fwd=vary-miss; stored";

fn variant(language: &str) -> [(&str, &str); 3] {
    [
        ("accept-language", language),
        ("x-body", "language"),
        ("x-answer-vary", "Accept-Language"),
    ]
}

#[rustfmt::skip] // A row is a line.
pub async fn h2_s30_variants_are_apart_and_one_reset_clears_them(adapter: &Adapter) {
    let app = adapter.start().await;
    let (en, de) = (variant("en"), variant("de"));
    let vary = [("vary", Some("Accept-Language"))];
    for (first, second) in [("en 1", "de 2"), ("en 3", "de 4")] {
        check(
            &app,
            &[
                ("GET /page/v", &en, 200, STORED, first, &vary),
                ("GET /page/v", &de, 200, OTHER, second, &vary),
                ("GET /page/v", &en, 200, HIT, first, &vary),
                ("HEAD /page/v", &de, 200, HIT, "", &vary),
                ("GET /page/v", &de, 200, HIT, second, &vary),
            ],
        )
        .await;
        app.reset("page-v").await;
    }
}

pub async fn h2_c4_a_variant_in_flight_does_not_outlive_a_reset(adapter: &Adapter) {
    let app = adapter.start().await;
    let (en, de) = (variant("en"), variant("de"));
    for (name, runs) in [("cold", 0), ("warm", 1)] {
        let line = format!("GET /page/{name}");
        if runs == 1 {
            app.server.ask(&line, &en).await;
        }
        app.probe.shut(name);
        let slow = app.server.send(&line, &de).await;
        app.probe.until_called(name, runs + 1).await;
        app.reset(&format!("page-{name}")).await;
        let fresh = app.server.send(&line, &de).await;
        app.probe.until_called(name, runs + 2).await;
        app.probe.open(name, 2);
        let text = format!("de {}", runs + 2);
        assert_eq!(fresh.answer().await.text(), text);
        assert_eq!(slow.answer().await.text(), format!("de {}", runs + 1));
        check(&app, &[(&line, &de, 200, HIT, &text, &[])]).await;
    }
}

#[rustfmt::skip] // A row is a line.
pub async fn h2_another_process_finds_the_variants_and_resets_them(adapter: &Adapter) {
    let (here, there) = (adapter.start().await, adapter.start().await);
    let (en, de) = (variant("en"), variant("de"));
    check(&here, &[("GET /page/v", &en, 200, STORED, "en 1", &[])]).await;
    check(
        &there,
        &[
            ("GET /page/v", &en, 200, HIT, "en 1", &[]),
            ("GET /page/v", &de, 200, OTHER, "de 1", &[]),
        ],
    )
    .await;
    there.reset("page-v").await;
    check(&here, &[("GET /page/v", &de, 200, STORED, "de 2", &[])]).await;
}
