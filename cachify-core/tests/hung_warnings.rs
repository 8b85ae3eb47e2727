//! Warnings about computations that hang or wait for themselves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/log.rs"]
mod log;

use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Waker};

use cachify_core::clock::Clock;
use cachify_core::{Cachify, Key, KeyTemplate};
use log::Log;

fn key(text: &str) -> Key {
    KeyTemplate::parse(text).unwrap().render(&[])
}

#[tokio::test(start_paused = true)]
async fn c2_warnings_name_the_template_and_the_time_waited() {
    let log = Log::start();
    let builder = Cachify::builder().memory().clock(Clock::test());
    let cachify = builder.connect_lazy().unwrap();
    let asleep = cachify.cached(&key("asleep"));
    let mut unpolled = pin!(asleep.get_or_compute(pending::<i32>));
    let polled = unpolled
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    assert_eq!(asleep.get_or_compute(async || 1).await, 1);
    let text = log.take_warnings().concat();
    assert!(text.contains("template=\"asleep\""), "{text}");
    assert!(text.contains("waited=30"), "{text}");
    assert!(text.contains("polled"), "{text}");

    let circle = cachify.cached(&key("circle"));
    for _ in 0..2 {
        circle.reset().await.unwrap();
        let value = circle.get_or_compute(async || circle.get_or_compute(async || 1).await + 1);
        assert_eq!(value.await, 2);
    }
    let text = log.warnings().concat();
    assert_eq!(text.matches("template=\"circle\"").count(), 1, "{text}");
}
