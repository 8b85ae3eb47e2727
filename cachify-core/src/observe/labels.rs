//! The labels of metrics: key templates.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use metrics::SharedString;

use super::seen::TEMPLATES;
use crate::Key;

/// Series that start together, when their template is first seen.
#[derive(Clone, Copy)]
pub(super) enum Family {
    Read,
    #[cfg(feature = "http")]
    Bypass,
    Lock,
    Pool,
}

/// Starts the series of a template at zero.
pub(super) type Start = fn(&SharedString);

/// Returns the label of a key's template: the template itself, or `other` after the first 1000.
pub(super) fn label(key: &Key) -> SharedString {
    known_label(key.template(), None)
}

/// Returns the label of a template. On first use, starts the family's series at zero.
pub(super) fn label_of(template: &str, family: Family, start: Start) -> SharedString {
    known_label(template, Some((family, start)))
}

fn known_label(template: &str, family: Option<(Family, Start)>) -> SharedString {
    /// A label, and a bit for each family that has started.
    type Label = (Arc<str>, AtomicU8);
    static LABELS: RwLock<Option<HashMap<String, Label>>> = RwLock::new(None);

    let text = |(text, started): &Label| {
        let label = Arc::clone(text).into();
        if let Some((family, start)) = family {
            let bit = 1 << (family as u8);
            if started.load(Ordering::Relaxed) & bit == 0
                && started.fetch_or(bit, Ordering::Relaxed) & bit == 0
            {
                start(&label);
            }
        }
        label
    };
    let known = LABELS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(labels) = known.as_ref() {
        if let Some(label) = labels.get(template) {
            return text(label);
        }
        // When the table is full, new templates must not queue for the write lock.
        if labels.len() >= TEMPLATES {
            return "other".into();
        }
    }
    drop(known);
    let mut labels = LABELS.write().unwrap_or_else(PoisonError::into_inner);
    let labels = labels.get_or_insert_default();
    if labels.len() >= TEMPLATES && !labels.contains_key(template) {
        return "other".into();
    }
    text(
        labels
            .entry(template.to_owned())
            .or_insert_with(|| (template.into(), AtomicU8::new(0))),
    )
}
