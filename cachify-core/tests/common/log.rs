//! Captures the log of a test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::mem::take;
use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    static OPEN: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// Spans have no level here.
type Lines = Arc<Mutex<Vec<(Option<Level>, String)>>>;

/// The log of the thread that started it, until it is dropped.
#[must_use]
pub struct Log(Lines);

impl Log {
    /// Starts to capture events and spans of every level.
    ///
    /// One subscriber serves all threads of the process. If each test had its own, a thread without
    /// one could be the first to reach an event, and `tracing` would turn that event off for all.
    pub fn start() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            set_global_default(Threads).unwrap();
            // For events that were reached while it was being installed.
            tracing::callsite::rebuild_interest_cache();
        });
        let lines = Lines::default();
        OPEN.set(Some(Arc::clone(&lines)));
        Self(lines)
    }

    /// Returns everything, one line for each event or span.
    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap();
        lines.iter().map(|(_, line)| line.clone() + "\n").collect()
    }

    /// Returns the warnings and errors.
    pub fn warnings(&self) -> Vec<String> {
        self.from(Level::WARN)
    }

    /// Returns the warnings and errors since the last call, and forgets everything.
    pub fn take_warnings(&self) -> Vec<String> {
        let warnings = self.warnings();
        take(&mut *self.0.lock().unwrap());
        warnings
    }

    /// Returns the warnings and errors about a template.
    pub fn warnings_of(&self, template: &str) -> Vec<String> {
        let mut warnings = self.warnings();
        warnings.retain(|line| line.contains(&format!("template=\"{template}\"")));
        warnings
    }

    /// Returns the number of events from level `info` that contain `word`.
    pub fn lines_with(&self, word: &str) -> usize {
        let lines = self.from(Level::INFO);
        lines.iter().filter(|line| line.contains(word)).count()
    }

    fn from(&self, least: Level) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let events = lines
            .iter()
            .filter(|(level, _)| level.is_some_and(|level| level <= least));
        events.map(|(_, line)| line.clone()).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        OPEN.set(None);
    }
}

/// Passes everything to the log of its thread.
struct Threads;

/// The fields of an event or a span: `name=value `.
#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

fn write(level: Option<Level>, record: impl FnOnce(&mut Fields)) {
    OPEN.with_borrow(|open| {
        if let Some(lines) = open {
            let mut fields = Fields::default();
            record(&mut fields);
            lines.lock().unwrap().push((level, fields.0));
        }
    });
}

impl Subscriber for Threads {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        OPEN.with_borrow(Option::is_some)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        write(None, |fields| span.record(fields));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        write(None, |fields| values.record(fields));
    }

    fn event(&self, event: &Event<'_>) {
        write(Some(*event.metadata().level()), |fields| {
            event.record(fields);
        });
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
