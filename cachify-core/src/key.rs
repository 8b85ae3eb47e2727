//! The names of entries, locks and pools.

use std::fmt;

use smol_str::SmolStr;

/// The name of one entry, one lock or one pool.
#[derive(Clone)]
pub struct Key {
    text: SmolStr,
    template: SmolStr,
}

impl Key {
    /// The key as it is stored.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The template that it was rendered from.
    pub fn template(&self) -> &str {
        &self.template
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.template).finish()
    }
}
