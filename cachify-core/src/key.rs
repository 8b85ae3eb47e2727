//! Names of entries, locks and pools: [`KeyTemplate`], and the [`Key`] that it renders.

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

pub use self::keys::Keys;
pub(crate) use self::prefix::Prefix;
#[doc(hidden)]
pub use self::template::Segment;
pub use self::template::{KeyTemplate, MissingPlaceholder};

/// A rendered key: it names one entry, one lock or one pool.
///
/// Made by [`key!`](crate::key!), [`KeyTemplate::render`] or [`CacheKey::key`]. Cheap to clone.
/// Keys are equal when their text is.
///
/// `Debug` shows the template alone, since values can be secrets.
#[derive(Clone)]
pub struct Key {
    /// Behind a prefix, [`SEPARATOR`] and the text that was rendered.
    text: SmolStr,
    template: SmolStr,
    prefix: Option<Prefix>,
}

/// Stands between a prefix and the text of a key. It cannot be in either.
const SEPARATOR: char = '\u{1f}';

impl Key {
    /// Returns the text: never empty, at most 512 bytes, without braces or control characters.
    ///
    /// A [`Backend`](crate::backend::Backend) also gets the keys of handles that
    /// [`with_prefix`](crate::Cachify::with_prefix) made. Their text begins with the prefix and the
    /// character U+001F, so that keys with different prefixes never are equal.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the prefix of the handle that the key was given to, unless it is the one that was
    /// built.
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

    /// Returns the key of the same text with `prefix` in place of the prefix that it has.
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

    fn text_within(prefix: Option<&Prefix>, plain: &str) -> SmolStr {
        match prefix {
            Some(prefix) => Self::name_within(prefix.as_str(), plain),
            None => plain.into(),
        }
    }

    /// The text of the key `plain` of a handle with `prefix`.
    pub(crate) fn name_within(prefix: &str, plain: &str) -> SmolStr {
        smol_str::format_smolstr!("{prefix}{SEPARATOR}{plain}")
    }

    /// Returns whether `text` has the form of a key's text.
    #[cfg(any(feature = "redis", feature = "testing"))]
    pub(crate) fn is_text(text: &str) -> bool {
        let forbidden = |c: char| c == '{' || c == '}' || c.is_ascii_control();
        (1..=render::MAX_LEN).contains(&text.len()) && !text.contains(forbidden)
    }

    /// Returns the template that the key was rendered from: what logs and metrics may show.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Returns the key of something that belongs to this key's entry and is found through it: no
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

/// A value that can stand in a key: whatever implements [`Display`].
///
/// Values that differ should display differently, as ids do and rounded numbers do not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a key, because it does not implement `Display`",
    label = "this value is in the key",
    note = "name a field that is unique, as in `{{order.id}}`; of an extractor what it holds, as in `{{id.0}}`, or take it apart: `Path(id): Path<i64>`",
    note = "give an `Option` or a list a text by an expression: `key!(\"list-{{page}}\", page = page.unwrap_or(1))`, `#[cached(key = \"list-{{page}}\", page = page.unwrap_or(1))]`"
)]
pub trait KeyPart: Display {}

#[diagnostic::do_not_recommend]
impl<T: Display + ?Sized> KeyPart for T {}

/// A type that makes a key of its fields: derive it.
///
/// # Examples
///
/// ```
/// use cachify_core::CacheKey;
///
/// #[derive(CacheKey)]
/// #[key("update-user-{user_id}")]
/// struct UpdateUser {
///     user_id: i64,
/// }
///
/// assert_eq!(UpdateUser { user_id: 7 }.key().as_str(), "update-user-7");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which key it stands for",
    note = "derive it: `#[derive(CacheKey)] #[key(\"user-{{user_id}}\")]`"
)]
pub trait CacheKey {
    /// Returns the key of this value.
    fn key(&self) -> Key;

    /// The template of all keys of this type.
    fn template() -> &'static KeyTemplate;
}
