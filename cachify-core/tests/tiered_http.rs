//! H2 and C10: HTTP responses over memory in front of Redis.
#![cfg(all(feature = "redis", feature = "http", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod http_support;
#[path = "common/tier.rs"]
mod tier;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{key, soon, until};
use http_support::{Route, body, header, rules, status, text, with};
use redis_fixture::Server;
use tier::Tier;

const EN: &[(&str, &str)] = &[("accept-language", "en")];
const DE: &[(&str, &str)] = &[("accept-language", "de")];

/// Answers with the requested language and the number of the run.
fn multilingual(tier: &Tier, runs: &Arc<AtomicUsize>) -> Route {
    let runs = Arc::clone(runs);
    Route::new(rules(&tier.cachify, "page"), move |request| {
        let n = runs.fetch_add(1, Ordering::SeqCst);
        let language = request.headers["accept-language"]
            .to_str()
            .unwrap()
            .to_owned();
        async move {
            let text = text(format!("{language} {n}"));
            with(text, &[("vary", "Accept-Language")])
        }
    })
}

fn gets(server: &Server) -> bool {
    let stats = server.command(&["INFO", "commandstats"]).text();
    stats.contains("cmdstat_get:")
}

#[tokio::test]
async fn h2_c10_variants_are_hits_in_memory_and_one_reset_forgets_them_everywhere() {
    let server = Server::start();
    let (a, b) = (
        Tier::connect(&server.url()).await,
        Tier::connect(&server.url()).await,
    );
    let runs = Arc::default();
    let (here, there) = (multilingual(&a, &runs), multilingual(&b, &runs));
    let page = key("page");
    for round in 0..2 {
        let expected = [format!("en {}", 2 * round), format!("de {}", 2 * round + 1)];
        for (headers, expected) in [EN, DE].into_iter().zip(&expected) {
            for route in [&here, &there] {
                assert_eq!(body(&route.get(headers).await), expected);
            }
        }
        for route in [&here, &there] {
            // The copies of both variants, and of the entry that names them.
            until("they are in memory", async || {
                server.command(&["CONFIG", "RESETSTAT"]);
                for (headers, expected) in [EN, DE].into_iter().zip(&expected) {
                    let hit = route.get(headers).await;
                    assert_eq!(body(&hit), expected);
                    assert!(
                        status(&hit).starts_with("cachify; hit; ttl="),
                        "{}",
                        status(&hit)
                    );
                    assert!(header(&hit, "age").is_some() && header(&hit, "etag").is_some());
                }
                !gets(&server)
            })
            .await;
        }
        a.cachify.reset(&page).await.unwrap();
        soon("the word is heard", b.backend.heard()).await;
        assert!(!a.has(&page) && !b.has(&page));
    }
}
