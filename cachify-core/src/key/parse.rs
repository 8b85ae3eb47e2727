// The grammar of key templates, needed when a template is compiled (in `cachify-macros`) and when
// one is read at run time (in `cachify-core`). A proc-macro crate can neither export a function nor
// depend on a crate of ours, so both have this file; `cachify-core/tests/key_grammar.rs` holds them
// identical.

use std::fmt::{self, Write as _};
use std::ops::Range;

/// A template taken apart. Its literals are already in the form in which a key shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The literal before the first placeholder.
    pub(crate) head: String,
    pub(crate) slots: Vec<ParsedSlot>,
}

/// One placeholder and the literal between it and the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedSlot {
    /// Where the name stands in the template, in bytes and without its braces.
    pub(crate) name: Range<usize>,
    pub(crate) then: String,
}

/// What is wrong with a template, where (in bytes), and how to put it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParseError {
    pub(crate) position: usize,
    pub(crate) message: String,
}

impl ParseError {
    fn new(position: usize, message: impl Into<String>) -> Self {
        Self {
            position,
            message: message.into(),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.message, self.position)
    }
}

/// Takes a template apart.
pub(crate) fn parse(text: &str) -> Result<Parsed, ParseError> {
    if text.is_empty() {
        return Err(ParseError::new(
            0,
            "the key is empty: give it some text, such as `user-{user_id}`",
        ));
    }
    let mut head = String::new();
    let mut slots: Vec<ParsedSlot> = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let literal = match slots.last_mut() {
            Some(slot) => &mut slot.then,
            None => &mut head,
        };
        let rest = &text[at + c.len_utf8()..];
        match c {
            '{' if !rest.starts_with('{') => {
                let name = placeholder(text, at)?;
                if slots.last().is_some_and(|slot| slot.then.is_empty()) {
                    return Err(ParseError::new(
                        at,
                        format!(
                            "nothing stands between `{{{}}}` and the placeholder before it, so that different values could make the same key: put a character between them, such as `-`",
                            &text[name.clone()]
                        ),
                    ));
                }
                at = name.end + 1;
                slots.push(ParsedSlot {
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
    Ok(Parsed { head, slots })
}

/// Literals escape with `%x7B` where values have `%7B`: a value can then never be taken for the
/// beginning of the literal behind it, nor a key's text contain a brace.
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
                "a `{` is not closed: close the placeholder with `}`, or write `{{` for a literal brace",
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
            "a placeholder is empty: name its value, as in `{user_id}`, or write `{{}}` for literal braces",
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
                    "the placeholder `{{{name}}}` begins with a digit: placeholders are named, as in `{{user_id}}`"
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
