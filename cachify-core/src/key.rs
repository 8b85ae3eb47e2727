//! Names of entries, locks and pools: [`KeyTemplate`], and the [`Key`] that it renders.

mod cache_key;
mod keys;
mod prefix;
mod render;
mod template;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::hash::{Hash, Hasher};

use smol_str::SmolStr;

pub use self::cache_key::CacheKey;
pub use self::keys::Keys;
pub(crate) use self::prefix::Prefix;
#[doc(hidden)]
pub use self::template::Segment;
pub use self::template::{KeyTemplate, MissingPlaceholder};

/// A rendered key: it names one entry, one lock or one pool.
///
/// [`key!`](crate::key!), [`KeyTemplate::render`] and [`CacheKey::key`] make keys. A key is cheap
/// to clone. Keys with the same text are equal.
///
/// `Debug` shows only the template, since values can be secrets.
#[derive(Clone)]
pub struct Key {
    /// The rendered text; with a prefix, the prefix and [`SEPARATOR`] come before it.
    text: SmolStr,
    template: SmolStr,
    prefix: Option<Prefix>,
}

/// The character between a prefix and the text of a key. Neither can contain it.
const SEPARATOR: char = '\u{1f}';

impl Key {
    /// Returns the text. It is never empty, has at most 512 bytes, and contains no braces or
    /// control characters.
    ///
    /// A [`Backend`](crate::backend::Backend) also receives keys of handles with a
    /// [prefix](crate::Cachify::with_prefix). Their text begins with the prefix and the character
    /// U+001F, so keys with different prefixes are never equal.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the prefix of the handle that uses the key, or `None` for the handle's own prefix
    /// from when it was built.
    pub(crate) fn prefix(&self) -> Option<&Prefix> {
        self.prefix.as_ref()
    }

    /// Returns the text without the prefix.
    pub(crate) fn plain(&self) -> &str {
        match &self.prefix {
            Some(prefix) => &self.text[prefix.as_str().len() + SEPARATOR.len_utf8()..],
            None => &self.text,
        }
    }

    /// Returns the key with the same text, and with `prefix` in place of its own prefix.
    #[inline]
    pub(crate) fn within(&self, prefix: Option<&Prefix>) -> Cow<'_, Self> {
        if self.prefix.as_ref() == prefix {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            text: Self::text_within(prefix, self.plain()),
            template: self.template.clone(),
            prefix: prefix.cloned(),
        })
    }

    /// Returns an equal key that does not count as a use of its prefix.
    pub(crate) fn unused(&self) -> Self {
        Self {
            prefix: self.prefix.as_ref().map(Prefix::unused),
            ..self.clone()
        }
    }

    fn text_within(prefix: Option<&Prefix>, plain: &str) -> SmolStr {
        match prefix {
            Some(prefix) => Self::name_within(prefix.as_str(), plain),
            None => plain.into(),
        }
    }

    /// Returns the text of the key `plain` with `prefix`.
    pub(crate) fn name_within(prefix: &str, plain: &str) -> SmolStr {
        smol_str::format_smolstr!("{prefix}{SEPARATOR}{plain}")
    }

    /// Returns whether `text` has the form of a key's text.
    #[cfg(any(feature = "redis", feature = "testing"))]
    pub(crate) fn is_text(text: &str) -> bool {
        let forbidden = |c: char| c == '{' || c == '}' || c.is_ascii_control();
        (1..=render::MAX_LEN).contains(&text.len()) && !text.contains(forbidden)
    }

    /// Returns the template that the key was rendered from. Logs and metrics may show it.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Returns the key of a variant of this key's entry, which is found only through the entry: no
    /// template renders it.
    #[cfg(feature = "http")]
    pub(crate) fn variant(&self, name: &str) -> Self {
        Self {
            text: Self::text_within(self.prefix(), &render::variant(self.plain(), name)),
            template: self.template.clone(),
            prefix: self.prefix.clone(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.template).finish()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// A value that can be part of a key: anything that implements [`Display`].
///
/// Different values should display differently. Ids do, and rounded numbers do not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a key, because it does not implement `Display`",
    label = "this value is in the key",
    note = "name a unique field, as in `{{order.id}}`; for the value in an extractor, write \
            `{{id.0}}`, or use the pattern `Path(id): Path<i64>`",
    note = "turn an `Option` or a list into text by an expression: \
            `key!(\"list-{{page}}\", page = page.unwrap_or(1))`, \
            `#[cached(key = \"list-{{page}}\", page = page.unwrap_or(1))]`"
)]
pub trait KeyPart: Display {}

#[diagnostic::do_not_recommend]
impl<T: Display + ?Sized> KeyPart for T {}
