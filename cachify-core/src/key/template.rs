use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use cachify_syntax::template;
use smol_str::SmolStr;

use super::render::{MAX_LEN, Renderer};
use super::{Key, KeyPart};
use crate::{Error, ErrorKind};

/// A key with placeholders, such as `read_user-{user_id}`.
///
/// | syntax | meaning |
/// |---|---|
/// | `{user_id}` | a value, by its name |
/// | `{order.id}` | a field of a value; in HTTP layers also a part of the request, such as `{query.page}` |
/// | `{header.accept-language}` | a name with a dash, which is allowed after a dot, at run time |
/// | `{{` and `}}` | a literal brace |
///
/// Two placeholders need a literal between them.
///
/// # Different values, different keys
///
/// For one template, different values never render the same key, whatever bytes they contain. For
/// that, parts of a value are percent-escaped: the character that begins the literal after its
/// placeholder, `%`, braces, control characters and bytes that are not UTF-8. Ids and UUIDs stay
/// readable. Two *templates* can render the same key (`user-{id}` and `user-7`), and then share it.
///
/// A key over 512 bytes is stored as at most its first 190 bytes, `%#` and the SHA-256 of the
/// whole.
///
/// # Examples
///
/// ```
/// use cachify_core::KeyTemplate;
///
/// let template = KeyTemplate::parse("read_user-{user_id}")?;
/// assert_eq!(template.render(&[&7]).as_str(), "read_user-7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeyTemplate {
    text: SmolStr,
    /// The literal before the first placeholder, in its escaped form.
    head: SmolStr,
    segments: Segments,
}

#[derive(Clone)]
enum Segments {
    Static(&'static [Segment]),
    Shared(Arc<[Segment]>),
}

/// A placeholder and the literal after it. Macros build templates from segments.
#[doc(hidden)]
#[derive(Debug)]
pub struct Segment {
    name: SmolStr,
    then: SmolStr,
}

impl Segment {
    /// Makes a segment. The literal `then` is already escaped.
    pub const fn new(name: &'static str, then: &'static str) -> Self {
        Self {
            name: SmolStr::new_static(name),
            then: SmolStr::new_static(then),
        }
    }
}

impl KeyTemplate {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// [`Template`](ErrorKind::Template) if the text is empty, if a brace is not closed or closes
    /// nothing, if a placeholder is empty or malformed, or if two placeholders have nothing between
    /// them. The message gives the position, and the correction.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parsed = template::parse(text).map_err(|error| {
            Error::new(ErrorKind::Template, error.to_string()).with_template(text)
        })?;
        let segments = parsed.placeholders.into_iter().map(|segment| Segment {
            name: text[segment.name].into(),
            then: segment.then.into(),
        });
        Ok(Self {
            text: text.into(),
            head: parsed.head.into(),
            segments: Segments::Shared(segments.collect()),
        })
    }

    /// Makes a template that a macro has parsed. Its literals are already escaped.
    #[doc(hidden)]
    pub const fn from_macro(
        text: &'static str,
        head: &'static str,
        segments: &'static [Segment],
    ) -> Self {
        Self {
            text: SmolStr::new_static(text),
            head: SmolStr::new_static(head),
            segments: Segments::Static(segments),
        }
    }

    /// Returns the template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names in braces, in order. A name that occurs twice is returned twice.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.segments().iter().map(|segment| segment.name.as_str())
    }

    fn segments(&self) -> &[Segment] {
        match &self.segments {
            Segments::Static(segments) => segments,
            Segments::Shared(segments) => segments,
        }
    }

    /// Renders a key from one value for each placeholder, in the order of
    /// [`placeholders`](Self::placeholders).
    ///
    /// Allocates nothing for a key of up to 23 bytes, and once for a longer one.
    ///
    /// # Panics
    ///
    /// If the numbers of values and placeholders differ, or if the `Display` of a value
    /// returns an error, as `to_string` does: such a key would not distinguish its values.
    pub fn render(&self, parts: &[&dyn KeyPart]) -> Key {
        let segments = self.segments();
        assert!(
            parts.len() == segments.len(),
            "the key template `{}` has {} placeholders, but was given {} values",
            self.text,
            segments.len(),
            parts.len(),
        );
        if segments.is_empty() && self.head.len() <= MAX_LEN {
            return self.key(self.head.clone());
        }
        let mut key = Renderer::new();
        key.push(&self.head);
        for (segment, part) in segments.iter().zip(parts) {
            let written = write!(key.push_value(&segment.then), "{part}");
            assert!(
                written.is_ok(),
                "the `Display` of the value for `{{{}}}` returned an error",
                segment.name
            );
            key.push(&segment.then);
        }
        self.key(key.finish())
    }

    /// Renders a key from the text or bytes that `value` returns for each placeholder's name.
    ///
    /// # Errors
    ///
    /// Returns [`MissingPlaceholder`] if `value` returns `None`: a placeholder is never left in a
    /// key as text.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::KeyTemplate;
    ///
    /// let template = KeyTemplate::parse("list-{query.page}")?;
    /// let page = |name: &str| (name == "query.page").then(|| b"2".into());
    /// assert_eq!(template.render_with(page)?.as_str(), "list-2");
    /// assert!(template.render_with(|_| None).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn render_with<'a>(
        &self,
        mut value: impl FnMut(&str) -> Option<Cow<'a, [u8]>>,
    ) -> Result<Key, MissingPlaceholder> {
        let mut key = Renderer::new();
        key.push(&self.head);
        for segment in self.segments() {
            let value = value(&segment.name).ok_or_else(|| MissingPlaceholder {
                template: self.text.clone(),
                name: segment.name.clone(),
            })?;
            key.push_value(&segment.then).write_bytes(&value);
            key.push(&segment.then);
        }
        Ok(self.key(key.finish()))
    }

    fn key(&self, text: SmolStr) -> Key {
        Key {
            prefix: None,
            text,
            template: self.text.clone(),
        }
    }
}

impl fmt::Debug for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyTemplate").field(&self.text).finish()
    }
}

impl PartialEq for KeyTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for KeyTemplate {}

/// The error for a placeholder without a value, such as a query parameter that a request lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPlaceholder {
    template: SmolStr,
    name: SmolStr,
}

impl MissingPlaceholder {
    /// Returns the placeholder's name, without braces.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the template that has the placeholder.
    pub fn template(&self) -> &str {
        &self.template
    }
}

impl fmt::Display for MissingPlaceholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "nothing fills the placeholder `{{{}}}` of the key template `{}`",
            self.name, self.template
        )
    }
}

impl StdError for MissingPlaceholder {}

impl From<MissingPlaceholder> for Error {
    fn from(missing: MissingPlaceholder) -> Self {
        let message = format!("nothing fills the placeholder `{{{}}}`", missing.name);
        Error::new(ErrorKind::Template, message).with_template(&missing.template)
    }
}
