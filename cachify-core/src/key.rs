//! Names of entries, locks and pools: [`KeyTemplate`], and the [`Key`] that it renders.

mod keys;
mod parse;
mod render;
mod template;

#[cfg(test)]
mod tests;

use std::fmt::{self, Display};
use std::hash::{Hash, Hasher};

use smol_str::SmolStr;

pub use self::keys::Keys;
#[doc(hidden)]
pub use self::template::Slot;
pub use self::template::{KeyTemplate, MissingPlaceholder};

/// A rendered key: it names one entry, one lock or one pool.
///
/// Made by [`key!`](crate::key!), [`KeyTemplate::render`] or [`CacheKey::key`]. Cheap to clone. Keys
/// are equal when their text is.
///
/// `Debug` shows the template alone, since values can be secrets.
#[derive(Clone)]
pub struct Key {
    text: SmolStr,
    template: SmolStr,
}

impl Key {
    /// The text: never empty, at most 512 bytes, without braces or control characters.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `text` has the form of a key's text.
    #[cfg(feature = "redis")]
    pub(crate) fn is_text(text: &str) -> bool {
        let forbidden = |c: char| c == '{' || c == '}' || c.is_ascii_control();
        (1..=render::MAX_LEN).contains(&text.len()) && !text.contains(forbidden)
    }

    /// The template that the key was rendered from: what logs and metrics may show.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The key of something that belongs to this key's entry and is found through it: no template renders it.
    #[cfg(feature = "http")]
    pub(crate) fn variant(&self, name: &str) -> Self {
        Self {
            text: render::variant(&self.text, name),
            template: self.template.clone(),
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
    /// The key of this value.
    fn key(&self) -> Key;

    /// The template of all keys of this type.
    fn template() -> &'static KeyTemplate;
}
