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
/// | in a template | means |
/// |---|---|
/// | `{user_id}` | a value by its name |
/// | `{order.id}` | a field of a value; in HTTP layers also a part of the request: `{query.page}` |
/// | `{header.accept-language}` | names behind a dot may have dashes, at run time |
/// | `{{` and `}}` | a literal brace |
///
/// Two placeholders need something between them.
///
/// # What two different keys promise
///
/// For one template, different values never render the same key, whatever bytes they hold. To that
/// end a value is percent-escaped, but only in what could be taken for the beginning of the literal
/// behind its placeholder, in `%`, braces, control characters and bytes that are not UTF-8: ids and
/// UUIDs read as themselves. Two *templates* can render the same key (`user-{id}` and `user-7`),
/// and then share it.
///
/// A key over 512 bytes is stored as its first 190 bytes or fewer, `%#` and the SHA-256 of the
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
    /// The literal before the first placeholder, as keys show it.
    head: SmolStr,
    segments: Segments,
}

#[derive(Clone)]
enum Segments {
    Static(&'static [Segment]),
    Shared(Arc<[Segment]>),
}

/// A placeholder and the literal behind it: what macros build templates of.
#[doc(hidden)]
#[derive(Debug)]
pub struct Segment {
    name: SmolStr,
    then: SmolStr,
}

impl Segment {
    /// `then` in the form in which keys show it.
    pub const fn new(name: &'static str, then: &'static str) -> Self {
        Self {
            name: SmolStr::new_static(name),
            then: SmolStr::new_static(then),
        }
    }
}

impl KeyTemplate {
    /// Takes a template apart.
    ///
    /// # Errors
    ///
    /// When the text is empty, a brace is not closed or closes nothing, a placeholder is empty or
    /// malformed, or two placeholders have nothing between them. The error, of kind
    /// [`Template`](ErrorKind::Template), says where, and what to write instead.
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

    /// Makes a template from what a macro parsed, literals in the form in which keys show them.
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

    /// Returns the names in braces, in order; a name that stands twice comes twice.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.segments().iter().map(|segment| segment.name.as_str())
    }

    fn segments(&self) -> &[Segment] {
        match &self.segments {
            Segments::Static(segments) => segments,
            Segments::Shared(segments) => segments,
        }
    }

    /// Makes a key of one value per placeholder, in the order of
    /// [`placeholders`](Self::placeholders).
    ///
    /// Allocates nothing for a key of up to 23 bytes, and once for a longer one.
    ///
    /// # Panics
    ///
    /// When the number of values is not that of the placeholders, or the `Display` of a value
    /// returns an error (as `to_string` does): such a key would not tell its values apart.
    pub fn render(&self, parts: &[&dyn KeyPart]) -> Key {
        let segments = self.segments();
        assert!(
            parts.len() == segments.len(),
            "the key template `{}` has {} placeholders, but got {} values",
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

    /// Makes a key of what `value` returns for each placeholder's name: text, or any bytes.
    ///
    /// # Errors
    ///
    /// When `value` returns `None`: a placeholder is never left in a key as text.
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

/// A value that a key needs and that is not there, such as a query parameter.
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
