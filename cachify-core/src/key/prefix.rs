use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use crate::{Error, ErrorKind};

/// The prefix that separates the keys of one handle from those of others. Equal prefixes share one
/// allocation in the whole process, so a weak reference shows whether one is still in use.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Prefix(Arc<str>);

impl Prefix {
    pub(crate) fn new(text: &str) -> Result<Self, Error> {
        static KNOWN: LazyLock<Mutex<HashMap<Box<str>, Weak<str>>>> = LazyLock::new(Mutex::default);
        Self::check(text)?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prefix) = known.get(text).and_then(Weak::upgrade) {
            return Ok(Self(prefix));
        }
        if known.len() == known.capacity() {
            known.retain(|_, prefix| prefix.strong_count() != 0);
        }
        let prefix = Arc::from(text);
        known.insert(text.into(), Arc::downgrade(&prefix));
        Ok(Self(prefix))
    }

    /// Refuses characters that are ambiguous in a name.
    pub(crate) fn check(text: &str) -> Result<(), Error> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        if !text.is_empty() && text.bytes().all(is_allowed) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Configuration,
            format!("the prefix {text:?} is invalid: use one or more letters, digits or `_.:-`"),
        ))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns an equal prefix that does not count as a use of this one.
    pub(crate) fn unused(&self) -> Self {
        Self(Arc::from(&*self.0))
    }

    /// Returns a weak reference, which ends with the last handle or key that has this prefix.
    #[cfg(feature = "redis")]
    pub(crate) fn downgrade(&self) -> Weak<str> {
        Arc::downgrade(&self.0)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
