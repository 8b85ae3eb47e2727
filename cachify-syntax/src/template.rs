//! Key templates, such as `user-{user_id}`.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::ops::Range;

/// A parsed template. Its literals are escaped for keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The literal before the first placeholder.
    pub head: String,
    /// The placeholders in order, each with the literal after it.
    pub placeholders: Vec<Placeholder>,
}

/// A placeholder and the literal between it and the next placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// The position of the name in the template: a range of bytes, without the braces.
    pub name: Range<usize>,
    /// The literal after the placeholder.
    pub then: String,
}

/// A mistake in a template. Its message gives the position and the correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    position: usize,
    message: String,
}

impl ParseError {
    fn new(position: usize, message: impl Into<String>) -> Self {
        Self {
            position,
            message: message.into(),
        }
    }

    /// Returns the position of the mistake in the template, in bytes.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.message, self.position)
    }
}

impl Error for ParseError {}

/// Parses a template.
///
/// # Errors
///
/// Returns the first mistake: the text is empty, a brace is not closed or closes nothing, a
/// placeholder is empty or malformed, or nothing stands between two placeholders.
///
/// # Examples
///
/// ```
/// use cachify_syntax::template::parse;
///
/// let text = "user-{user_id}/cart";
/// let template = parse(text)?;
/// assert_eq!(template.head, "user-");
/// assert_eq!(&text[template.placeholders[0].name.clone()], "user_id");
/// assert_eq!(template.placeholders[0].then, "/cart");
///
/// assert_eq!(parse("user-{user_id").unwrap_err().position(), 5);
/// # Ok::<(), cachify_syntax::template::ParseError>(())
/// ```
pub fn parse(text: &str) -> Result<Template, ParseError> {
    if text.is_empty() {
        return Err(ParseError::new(
            0,
            "the key is empty: give it some text, such as `user-{user_id}`",
        ));
    }
    let mut head = String::new();
    let mut placeholders: Vec<Placeholder> = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let literal = match placeholders.last_mut() {
            Some(last) => &mut last.then,
            None => &mut head,
        };
        let rest = &text[at + c.len_utf8()..];
        match c {
            '{' if !rest.starts_with('{') => {
                let name = placeholder(text, at)?;
                if placeholders.last().is_some_and(|last| last.then.is_empty()) {
                    return Err(ParseError::new(
                        at,
                        format!(
                            "nothing stands between `{{{}}}` and the placeholder before it, so \
                             that different values could make the same key: put a character \
                             between them, such as `-`",
                            &text[name.clone()]
                        ),
                    ));
                }
                at = name.end + 1;
                placeholders.push(Placeholder {
                    name,
                    then: String::new(),
                });
            }
            '}' if !rest.starts_with('}') => {
                return Err(ParseError::new(
                    at,
                    "a `}` closes nothing: write `}}` for a literal brace",
                ));
            }
            '{' | '}' => {
                push_literal(literal, c);
                at += 2;
            }
            _ => {
                push_literal(literal, c);
                at += c.len_utf8();
            }
        }
    }
    Ok(Template { head, placeholders })
}

/// Appends a character to a literal. A literal escapes with `%x7B` where a value escapes with
/// `%7B`, so a value can never look like the beginning of the literal after it. A key never
/// contains a brace.
fn push_literal(literal: &mut String, c: char) {
    match c {
        '%' | '{' | '}' | '\0'..='\x1f' | '\x7f' => {
            let _ = write!(literal, "%x{:02X}", u32::from(c));
        }
        _ => literal.push(c),
    }
}

/// Finds the name inside the braces that open at `open`.
fn placeholder(text: &str, open: usize) -> Result<Range<usize>, ParseError> {
    let start = open + 1;
    let end = match text[start..].find(['{', '}']) {
        Some(length) if text[start + length..].starts_with('}') => start + length,
        _ => {
            return Err(ParseError::new(
                open,
                "a `{` is not closed: close the placeholder with `}`, or write `{{` for a literal \
                 brace",
            ));
        }
    };
    check_name(&text[start..end], start)?;
    Ok(start..end)
}

fn check_name(name: &str, start: usize) -> Result<(), ParseError> {
    if name.is_empty() {
        return Err(ParseError::new(
            start,
            "a placeholder is empty: name its value, as in `{user_id}`, or write `{{}}` for \
             literal braces",
        ));
    }
    let mut at = start;
    for (index, part) in name.split('.').enumerate() {
        let first = part.chars().next();
        if first.is_none() {
            return Err(ParseError::new(
                at,
                format!("a name is missing beside a dot of `{{{name}}}`: write `{{order.id}}`"),
            ));
        }
        if index == 0 && first.is_some_and(char::is_numeric) {
            return Err(ParseError::new(
                at,
                format!(
                    "the placeholder `{{{name}}}` begins with a digit: placeholders are named, \
                     as in `{{user_id}}`"
                ),
            ));
        }
        let wrong = part.char_indices().find(|&(_, c)| {
            let plain = c.is_alphanumeric() || c == '_';
            !plain && (index == 0 || c != '-')
        });
        if let Some((offset, c)) = wrong {
            let why = match c {
                ':' => "a placeholder takes no format: give the value formatted".to_owned(),
                '-' => "`-` stands only behind a dot, as in `{header.accept-language}`".to_owned(),
                c if c.is_whitespace() => "a placeholder holds no spaces".to_owned(),
                c => format!("`{}` cannot be in a name", c.escape_debug()),
            };
            return Err(ParseError::new(
                at + offset,
                format!(
                    "the placeholder `{{{}}}` is malformed: {why}",
                    name.escape_debug()
                ),
            ));
        }
        at += part.len() + 1;
    }
    Ok(())
}
