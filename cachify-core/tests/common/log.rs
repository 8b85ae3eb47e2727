//! Captures the log.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The log of all events, at every level.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// Returns the warnings so far.
    pub fn warnings(&self) -> Vec<String> {
        let text = self.text();
        let mut warnings: Vec<String> = Vec::new();
        let mut warning = false;
        for line in text.lines() {
            if let Some(level) = line.strip_suffix(':') {
                warning = level == "WARN";
                if warning {
                    warnings.push(String::new());
                }
            } else if warning && let Some(last) = warnings.last_mut() {
                last.push_str(line);
                last.push('\n');
            }
        }
        warnings
    }
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn event(&self, event: &Event<'_>) {
        writeln!(self.0.lock().unwrap(), "{}:", event.metadata().level()).unwrap();
        event.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
