use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key as Name, KeyName, Metadata, Recorder, SharedString,
    Unit, with_local_recorder,
};

use super::seen::TEMPLATES;
use super::{ReadOutcome, reads, request};
use crate::clock::Clock;
use crate::testing::{Fault, Faulty};
use crate::{Cachify, KeyTemplate};

/// A recorder that writes down names and labels of metrics, and the changes of gauges.
#[derive(Default, Clone)]
struct Record(Arc<Mutex<Vec<String>>>);

impl Record {
    fn write(&self, name: &Name) {
        let mut line = name.name().to_owned();
        for label in name.labels() {
            line.push(' ');
            line.push_str(label.value());
        }
        self.0.lock().unwrap().push(line);
    }

    fn describe(&self, name: &KeyName) {
        let line = format!("described {}", name.as_str());
        self.0.lock().unwrap().push(line);
    }

    fn has(&self, line: &str) -> bool {
        self.0.lock().unwrap().iter().any(|have| have == line)
    }
}

impl GaugeFn for Record {
    fn increment(&self, value: f64) {
        self.0.lock().unwrap().push(format!("up by {value}"));
    }
    fn decrement(&self, value: f64) {
        self.0.lock().unwrap().push(format!("down by {value}"));
    }
    fn set(&self, value: f64) {
        self.0.lock().unwrap().push(format!("set to {value}"));
    }
}

impl Recorder for Record {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }
    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }
    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn register_counter(&self, name: &Name, _: &Metadata<'_>) -> Counter {
        self.write(name);
        Counter::noop()
    }

    fn register_gauge(&self, name: &Name, _: &Metadata<'_>) -> Gauge {
        self.write(name);
        Gauge::from_arc(Arc::new(self.clone()))
    }

    fn register_histogram(&self, name: &Name, _: &Metadata<'_>) -> Histogram {
        self.write(name);
        Histogram::noop()
    }
}

fn recorded<F: Future<Output = ()>>(work: F) -> Record {
    let record = Record::default();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    with_local_recorder(&record, || runtime.block_on(work));
    record
}

#[test]
fn s1_templates_are_labels_up_to_a_thousand_and_keys_never() {
    let record = recorded(async {
        for n in 0..1500 {
            let template = KeyTemplate::parse(&format!("flood-{n}-{{id}}")).unwrap();
            request(&template.render(&[&"s3cret"]), ReadOutcome::Hit);
        }
    });
    let lines = record.0.lock().unwrap();
    assert!(lines.iter().all(|line| !line.contains("s3cret")));
    let hits: Vec<_> = lines.iter().filter(|line| line.ends_with(" hit")).collect();
    assert_eq!(*hits[hits.len() - 1], "cachify_requests_total other hit");
    assert!(hits.into_iter().collect::<BTreeSet<_>>().len() <= TEMPLATES + 1);
}

#[test]
fn h8_every_metric_is_described_and_starts_before_the_first_event() {
    let record = recorded(async {
        let cachify = Cachify::memory();
        drop(cachify);
        // Started directly, because another test uses up the labels.
        reads::start(&"started-{id}".into());
        #[cfg(feature = "http")]
        super::http::start(&"started-{id}".into());
    });
    for line in [
        "described cachify_requests_total",
        "described cachify_lock_wait_seconds",
        "cachify_breaker_state",
        "cachify_evictions_total",
        "cachify_repeated_resets_total",
        "cachify_forgotten_resets_total",
        "cachify_memory_bytes",
        "cachify_requests_total started-{id} unstored",
        #[cfg(feature = "http")]
        "cachify_bypass_total started-{id} cookie",
        "cachify_unreadable_total started-{id}",
    ] {
        assert!(record.has(line), "{line}");
    }
    let source = [
        include_str!("backend.rs"),
        include_str!("http.rs"),
        include_str!("reads.rs"),
        include_str!("slots.rs"),
        #[cfg(feature = "redis")]
        include_str!("tier.rs"),
    ]
    .concat();
    let names = source.split('"').filter(|text| {
        text.strip_prefix("cachify_").is_some_and(|rest| {
            !rest.is_empty()
                && rest
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
    });
    for name in names {
        assert!(record.has(&format!("described {name}")), "{name}");
    }
}

#[test]
fn c6_what_cannot_be_read_is_counted() {
    let record = recorded(async {
        let cachify = Faulty::wrap(&Cachify::memory()).0;
        let key = KeyTemplate::parse("typed").unwrap().render(&[]);
        cachify.cached(&key).set(1).await.unwrap();
        assert_eq!(cachify.cached(&key).get::<String>().await.unwrap(), None);
    });
    let lines = record.0.lock().unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("cachify_unreadable_total "))
    );
}

#[test]
fn c11_what_memory_holds_shows() {
    let record = recorded(async {
        let clock = Clock::test();
        let builder = Cachify::builder().capacity(3).capacity_bytes(1 << 20);
        let cachify = builder.clock(clock).connect_lazy().unwrap();
        let template = KeyTemplate::parse("row-{id}").unwrap();
        let cached = |id: u32| cachify.cached(&template.render(&[&id]));
        for id in 0..5 {
            cached(id).weigh(|_: &i32| 1000).set(1).await.unwrap();
        }
        cached(5).weigh(|_: &i32| 2 << 20).set(1).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        drop(cachify);
    });
    assert!(record.has("cachify_too_large_total row-{id}"));
    assert!(record.has("cachify_evictions_total"));
    let lines = record.0.lock().unwrap();
    let bytes = 3 * (1000 + "row-0".len() + 256);
    for line in [
        "up by 3".to_owned(),
        format!("up by {bytes}"),
        "down by 3".to_owned(),
        format!("down by {bytes}"),
    ] {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn connections_that_are_made_and_lost_are_counted() {
    let record = Record::default();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let server = redis_fixture::Server::start();
    let counted = |event: &str| {
        let name = format!("cachify_connections_total {event}");
        record
            .0
            .lock()
            .unwrap()
            .iter()
            .filter(|line| **line == name)
            .count()
    };
    with_local_recorder(&record, || {
        runtime.block_on(async {
            let cachify = Cachify::connect(&server.url()).await.unwrap();
            let (made, lost) = (counted("made"), counted("lost"));
            // The series start at zero, which is recorded once for each event.
            assert!(made >= 3 && lost == 1, "{made} made, {lost} lost");
            server.kill();
            let key = KeyTemplate::parse("row").unwrap().render(&[]);
            assert!(cachify.reset(&key).await.is_err());
            assert!(counted("lost") > lost);
            server.restart();
            cachify.close(Duration::from_secs(20)).await.unwrap();
            assert!(counted("made") > made);
        });
    });
}

#[cfg(feature = "redis")]
#[test]
fn c10_what_memory_in_front_does_shows() {
    let record = Record::default();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let server = redis_fixture::Server::start();
    let counted = |line: &str| {
        let lines = record.0.lock().unwrap();
        lines.iter().filter(|have| *have == line).count()
    };
    with_local_recorder(&record, || {
        runtime.block_on(async {
            let builder = Cachify::builder().tiered(server.url());
            let lazy = builder.clone().connect_lazy().unwrap();
            // The series start at zero, which is recorded once for each handle.
            let key = KeyTemplate::parse("row").unwrap().render(&[]);
            lazy.cached(&key).get_or_compute(async || 1).await;
            assert!(counted("cachify_tier_bypass_total unsubscribed") > 1);
            let cachify = builder.connect().await.unwrap();
            let cached = cachify.cached(&key);
            for _ in 0..2 {
                assert_eq!(cached.get_or_compute(async || 2).await, 1);
            }
            for line in ["redis", "memory"] {
                let line = format!("cachify_tier_hits_total {line}");
                assert!(counted(&line) > 2, "{line}");
            }
            cachify.reset(&key).await.unwrap();
            assert!(counted("cachify_reset_words_total sent") > 2);
            while counted("cachify_reset_words_total heard") <= 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let set = "set to 0";
            while !record
                .0
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.starts_with(set))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    });
}

#[test]
fn c7_a_backend_that_is_left_alone_shows() {
    let record = recorded(async {
        let (cachify, backend) = Faulty::wrap(&Cachify::memory());
        let key = KeyTemplate::parse("row").unwrap().render(&[]);
        backend.fail_all(Fault::Refuse);
        for _ in 0..10 {
            cachify.cached(&key).get_or_compute(async || 1).await;
        }
    });
    assert!(record.has("cachify_breaker_state"));
    let lines = record.0.lock().unwrap();
    let set: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("set to"))
        .collect();
    assert_eq!(set, ["set to 1"], "once");
}
