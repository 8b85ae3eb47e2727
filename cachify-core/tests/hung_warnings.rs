//! Warnings about computations that hang or wait for themselves. Alone in its process: threads
//! without a subscriber would turn the events off.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::{Debug, Write};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use cachify_core::clock::Clock;
use cachify_core::{Cachify, Key, KeyTemplate};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

/// The fields of all warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<String>>);

impl Visit for Warnings {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn c2_warnings_name_the_template_and_the_time_waited() {
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let builder = Cachify::builder().memory().clock(Clock::test());
    let cachify = builder.connect_lazy().unwrap();
    let asleep = cachify.cached(&key("asleep"));
    let mut unpolled = pin!(asleep.get_or_compute(pending::<i32>));
    let polled = unpolled
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    assert_eq!(asleep.get_or_compute(async || 1).await, 1);
    let text = std::mem::take(&mut *warnings.0.lock().unwrap());
    assert!(text.contains("template=\"asleep\""), "{text}");
    assert!(text.contains("waited=30"), "{text}");
    assert!(text.contains("polled"), "{text}");

    let circle = cachify.cached(&key("circle"));
    for _ in 0..2 {
        circle.reset().await.unwrap();
        let value = circle.get_or_compute(async || circle.get_or_compute(async || 1).await + 1);
        assert_eq!(value.await, 2);
    }
    let text = warnings.0.lock().unwrap().clone();
    assert_eq!(text.matches("template=\"circle\"").count(), 1, "{text}");
}
