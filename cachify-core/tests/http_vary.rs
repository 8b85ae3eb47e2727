//! H2: responses that vary by a request header.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cachify_core::backend::memory::Memory;
use cachify_core::clock::Clock;
use cachify_core::testing::{Fault, Faulty, Op};
use cachify_core::{Cachify, KeyTemplate};
use futures_util::future::join_all;
use http::request::Parts;
use http_support::{Route, backends, body, far, get, header, memory, rules, status, text, with};

fn language(request: &Parts) -> String {
    let language = request.headers.get("accept-language");
    language.map_or("none".to_owned(), |value| {
        value.to_str().unwrap().to_owned()
    })
}

/// Answers with the requested language and the number of the run.
fn multilingual(cachify: &Cachify) -> Route {
    let count = AtomicUsize::new(0);
    Route::new(rules(cachify, "page"), move |request| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let text = text(format!("{} {n}", language(&request)));
            with(text, &[("vary", "Accept-Language")])
        }
    })
}

const EN: &[(&str, &str)] = &[("accept-language", "en")];
const DE: &[(&str, &str)] = &[("accept-language", "de")];

async fn reset(cachify: &Cachify) {
    let key = KeyTemplate::parse("page").unwrap().render(&[]);
    cachify.reset(&key).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn h2_each_variant_is_computed_once() {
    for cachify in backends() {
        let route = multilingual(&cachify);
        let first = route.get(EN).await;
        assert_eq!(
            (body(&first), status(&first)),
            ("en 0", "cachify; fwd=uri-miss; stored")
        );
        let other = route.get(DE).await;
        assert_eq!(
            (body(&other), status(&other)),
            ("de 1", "cachify; fwd=vary-miss; stored")
        );
        for (headers, expected) in [(EN, "en 0"), (DE, "de 1"), (EN, "en 0")] {
            let hit = route.get(headers).await;
            assert_eq!(body(&hit), expected);
            assert!(status(&hit).starts_with("cachify; hit; ttl="));
            assert_eq!(header(&hit, "vary"), Some("Accept-Language"));
        }
        // A missing header is a variant of its own.
        assert_eq!(body(&route.get(&[]).await), "none 2");
        assert_eq!(body(&route.get(&[]).await), "none 2");
    }
}

#[tokio::test(start_paused = true)]
async fn h2_s30_languages_collapse_apart_and_one_reset_clears_both() {
    for cachify in backends() {
        let route = multilingual(&cachify);
        for round in 1..=3 {
            let asked = (0..40).map(|n| route.get(if n % 2 == 0 { EN } else { DE }));
            for (n, answer) in join_all(asked).await.iter().enumerate() {
                let language = if n % 2 == 0 { "en " } else { "de " };
                assert!(body(answer).starts_with(language), "{}", body(answer));
            }
            assert_eq!(route.runs(), 2 * round);
            let hits = [route.get(EN).await, route.get(DE).await];
            assert!(
                hits.iter()
                    .all(|hit| status(hit).starts_with("cachify; hit"))
            );
            reset(&cachify).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h2_c4_a_variant_in_flight_does_not_survive_a_reset() {
    for cachify in backends() {
        let route = multilingual(&cachify);
        route.get(EN).await;
        let flying = tokio::spawn({
            let route = route.clone();
            async move { route.get(DE).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        reset(&cachify).await;
        assert_eq!(body(&flying.await.unwrap()), "de 1");
        assert_eq!(body(&route.get(DE).await), "de 2");
        assert_eq!(body(&route.get(EN).await), "en 3");
    }
}

#[tokio::test(start_paused = true)]
async fn h2_a_varying_hit_costs_two_gets() {
    let (cachify, gets) = far();
    let route = multilingual(&cachify);
    route.get(EN).await;
    let before = gets.load(Ordering::SeqCst);
    route.get(EN).await;
    assert_eq!(gets.load(Ordering::SeqCst) - before, 2);
}

#[tokio::test(start_paused = true)]
async fn h2_a_field_that_the_key_has_is_no_variant() {
    let (cachify, gets) = far();
    let route = Route::new(
        rules(&cachify, "page-{header.accept-language}"),
        |request| {
            let text = text(language(&request));
            std::future::ready(with(text, &[("vary", "accept-language")]))
        },
    );
    assert_eq!(body(&route.get(EN).await), "en");
    assert_eq!(body(&route.get(DE).await), "de");
    let before = gets.load(Ordering::SeqCst);
    assert_eq!(body(&route.get(EN).await), "en");
    assert_eq!(gets.load(Ordering::SeqCst) - before, 1);
    assert_eq!(route.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn h2_fields_that_are_named_late_are_learned() {
    for cachify in backends() {
        // The encoding matters only in German.
        let route = Route::new(rules(&cachify, "page"), |request| {
            let language = language(&request);
            let encoding = request.headers.get("accept-encoding");
            let encoding = encoding.map_or("", |value| value.to_str().unwrap());
            let (text, vary) = match language.as_str() {
                "de" => (
                    text(format!("de {encoding}")),
                    "accept-encoding, accept-language",
                ),
                _ => (text(language), "accept-language"),
            };
            std::future::ready(with(text, &[("vary", vary)]))
        });
        let asks: [&[(&str, &str)]; 3] = [
            EN,
            &[("accept-language", "de"), ("accept-encoding", "gzip")],
            &[("accept-language", "de"), ("accept-encoding", "br")],
        ];
        for round in 0..4 {
            for (ask, expected) in asks.iter().zip(["en", "de gzip", "de br"]) {
                let answer = route.get(ask).await;
                assert_eq!(body(&answer), expected);
                if round >= 2 {
                    assert!(
                        status(&answer).starts_with("cachify; hit"),
                        "{}",
                        status(&answer)
                    );
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn h2_a_leader_that_is_cancelled_is_replaced() {
    let route = Arc::new(multilingual(&memory()));
    let leader = tokio::spawn(route.ask(get("/", EN)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waiters: Vec<_> = [EN, DE]
        .map(|headers| tokio::spawn(route.ask(get("/", headers))))
        .into();
    tokio::time::sleep(Duration::from_millis(10)).await;
    leader.abort();
    let answers = join_all(waiters).await;
    let bodies: Vec<_> = answers
        .iter()
        .map(|a| body(a.as_ref().unwrap().as_ref().unwrap()))
        .collect();
    assert_eq!(bodies, ["en 1", "de 2"]);
}

#[tokio::test(start_paused = true)]
async fn h2_c4_fields_learned_in_flight_do_not_survive_a_reset() {
    for cachify in backends() {
        let count = AtomicUsize::new(0);
        let route = Route::new(rules(&cachify, "page"), move |request| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let vary = if n == 0 {
                    "Accept-Language"
                } else {
                    "Accept-Language, Accept"
                };
                with(
                    text(format!("{} {n}", language(&request))),
                    &[("vary", vary)],
                )
            }
        });
        route.get(EN).await;
        let flying = tokio::spawn({
            let route = route.clone();
            async move { route.get(DE).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        reset(&cachify).await;
        assert_eq!(body(&flying.await.unwrap()), "de 1");
        assert_eq!(body(&route.get(DE).await), "de 2");
    }
}

/// Leftovers of a reset must not stay forever.
#[tokio::test(start_paused = true)]
async fn h2_variants_of_answers_that_never_expire_live_an_hour() {
    for cachify in backends() {
        let mut rules = rules(&cachify, "page");
        rules.ttl(cachify_core::Ttl::NEVER);
        let route = Route::new(rules, |request| async move {
            let by = match language(&request).as_str() {
                "none" => "",
                _ => "Accept-Language",
            };
            with(text("hello"), &[("vary", by)])
        });
        route.get(EN).await;
        assert_eq!(status(&route.get(EN).await), "cachify; hit; ttl=3600");
        route.get(&[]).await;
        assert_eq!(status(&route.get(&[]).await), "cachify; hit; ttl=3600");
        reset(&cachify).await;
        route.get(&[]).await;
        assert_eq!(status(&route.get(&[]).await), "cachify; hit");
    }
}

/// Returns a handle over memory, and the memory, to see how much it holds.
fn counted() -> (Cachify, Memory) {
    let memory = Memory::builder().clock(Clock::test()).build();
    let builder = Cachify::builder().backend(Arc::new(memory.clone()));
    (builder.connect_lazy().unwrap(), memory)
}

/// Waits until unreachable variants are removed in the background.
async fn removed() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn h2_a_reset_leaves_no_variants_behind() {
    let (cachify, memory) = counted();
    let route = multilingual(&cachify);
    for _ in 0..10 {
        for language in ["en", "de", "fr"] {
            route.get(&[("accept-language", language)]).await;
        }
        removed().await;
        assert_eq!(memory.len(), 4);
        reset(&cachify).await;
    }
    // Nor does a request that was overtaken by a reset.
    route.get(EN).await;
    let flying = tokio::spawn(route.ask(get("/", DE)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    reset(&cachify).await;
    route.get(EN).await;
    flying.await.unwrap().unwrap();
    removed().await;
    assert_eq!(memory.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn h2_one_url_has_a_bounded_number_of_variants() {
    let (cachify, memory) = counted();
    let route = multilingual(&cachify);
    for n in 0..300 {
        route
            .get(&[("accept-language", &format!("en;q=0.{n:03}"))])
            .await;
    }
    removed().await;
    assert_eq!(memory.len(), 65);
    let newest = [("accept-language", "en;q=0.299")];
    assert!(status(&route.get(&newest).await).starts_with("cachify; hit"));
}

#[tokio::test(start_paused = true)]
async fn h2_a_reload_replaces_its_own_variant() {
    for cachify in backends() {
        let mut rules = rules(&cachify, "page");
        rules.honor_request_cache_control(true);
        let count = AtomicUsize::new(0);
        let route = Route::new(rules, move |request| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            let text = text(format!("{} {n}", language(&request)));
            std::future::ready(with(text, &[("vary", "accept-language")]))
        });
        assert_eq!(body(&route.get(EN).await), "en 0");
        assert_eq!(body(&route.get(DE).await), "de 1");
        let reload = [EN[0], ("cache-control", "no-cache")];
        let fresh = route.get(&reload).await;
        assert_eq!(
            (body(&fresh), status(&fresh)),
            ("en 2", "cachify; fwd=request; stored")
        );
        assert_eq!(body(&route.get(EN).await), "en 2");
        assert_eq!(body(&route.get(DE).await), "de 1");
    }
    let (cachify, memory) = counted();
    let mut rules = rules(&cachify, "page");
    rules.honor_request_cache_control(true);
    let route = Route::new(rules, |_| {
        std::future::ready(with(text("x"), &[("vary", "accept-language")]))
    });
    for _ in 0..100 {
        route.get(&[EN[0], ("cache-control", "no-cache")]).await;
    }
    assert_eq!(memory.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn h2_values_that_mean_the_same_share_a_variant() {
    for cachify in backends() {
        let route = multilingual(&cachify);
        let first = body(&route.get(&[("accept-language", "en, de;q=0.5")]).await).to_owned();
        for value in ["en,de;q=0.5", "EN ,  de;q=0.50", "de; q=0.5, en"] {
            assert_eq!(body(&route.get(&[("accept-language", value)]).await), first);
        }
        let two = [("accept-language", "en"), ("accept-language", "de;q=0.5")];
        assert_eq!(body(&route.get(&two).await), first);
        let other = route.get(&[("accept-language", "de, en;q=0.5")]).await;
        assert_ne!(body(&other), first);
    }
}

#[tokio::test(start_paused = true)]
async fn h2_s4_no_variant_is_kept_that_nobody_can_find() {
    let (cachify, memory) = counted();
    let count = AtomicUsize::new(0);
    // The first response is private to one client, so each waiter computes for itself.
    let route = Route::new(rules(&cachify, "page"), move |request| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answer = with(text(language(&request)), &[("vary", "Accept-Language")]);
            if first {
                return with(answer, &[("set-cookie", "a=b")]);
            }
            answer
        }
    });
    let answers = join_all((0..50).map(|_| route.get(EN))).await;
    assert!(answers.iter().all(|answer| body(answer) == "en"));
    assert_eq!(route.runs(), 50);
    assert_eq!(memory.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn h2_c7_a_varying_answer_costs_one_budget_while_the_backend_hangs() {
    // A backend that hangs, starting with a given operation.
    let all = [Op::Get, Op::Begin, Op::Fill];
    for hangs in (0..all.len()).map(|first| &all[first..]) {
        let (cachify, backend) = Faulty::wrap(&memory());
        let route = multilingual(&cachify);
        for op in hangs {
            backend.fail(*op, Fault::Hang);
        }
        let start = tokio::time::Instant::now();
        assert_eq!(body(&route.get(EN).await), "en 0");
        let lost = start.elapsed().saturating_sub(Duration::from_millis(100));
        assert!(lost <= Duration::from_millis(260), "{hangs:?}: {lost:?}");
    }
}
