use std::fmt;

use arrayvec::ArrayString;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

/// The longest key, in bytes, that is stored as its full text.
pub(super) const MAX_LEN: usize = 512;

/// The bytes of a longer key that remain readable.
pub(super) const START_LEN: usize = 190;

/// The separator between the start of a long key and its hash. After a `%`, a value has two
/// hexadecimal digits and a literal has an `x`, so neither can contain it.
pub(super) const LONG_SEPARATOR: &str = "%#";

/// The separator between a key and the name of a variant. Neither can contain it, as above.
#[cfg(feature = "http")]
const VARIANT_SEPARATOR: &str = "%v";

/// Appends the name of a variant, which contains no `%`, to the key `text`.
#[cfg(feature = "http")]
pub(super) fn variant(text: &str, name: &str) -> SmolStr {
    let mut key = Renderer::new();
    for part in [text, VARIANT_SEPARATOR, name] {
        key.push(part);
    }
    key.finish()
}

/// The text of an empty key: an empty hash tag would not count as one.
const EMPTY: &str = "%empty";

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Collects a key's text. Up to [`MAX_LEN`] bytes, it does not allocate. Past them, it only hashes,
/// so even the largest value costs no memory.
pub(super) struct Renderer {
    text: ArrayString<MAX_LEN>,
    long: Option<Sha256>,
}

impl Renderer {
    pub(super) fn new() -> Self {
        Self {
            text: ArrayString::new(),
            long: None,
        }
    }

    /// Appends text that needs no escaping.
    #[inline]
    pub(super) fn push(&mut self, text: &str) {
        if self.long.is_some() || self.text.try_push_str(text).is_err() {
            self.push_long(text);
        }
    }

    #[cold]
    fn push_long(&mut self, text: &str) {
        let hash = (self.long).get_or_insert_with(|| Sha256::new_with_prefix(self.text.as_bytes()));
        hash.update(text);
        let kept = text.floor_char_boundary(self.text.remaining_capacity());
        self.text.push_str(&text[..kept]);
    }

    fn push_escaped(&mut self, byte: u8) {
        let digit = |nibble: u8| char::from(HEX[usize::from(nibble)]);
        for char in ['%', digit(byte >> 4), digit(byte & 15)] {
            self.push(char.encode_utf8(&mut [0; 4]));
        }
    }

    /// Starts a value that is followed by the literal `next`.
    pub(super) fn push_value<'r>(&'r mut self, next: &str) -> ValueWriter<'r> {
        ValueWriter {
            out: self,
            stop: next.chars().next(),
        }
    }

    pub(super) fn finish(&mut self) -> SmolStr {
        let Some(hash) = self.long.take() else {
            return SmolStr::new(match self.text.as_str() {
                "" => EMPTY,
                text => text,
            });
        };
        self.text.truncate(self.text.floor_char_boundary(START_LEN));
        self.text.push_str(LONG_SEPARATOR);
        for byte in hash.finalize() {
            for nibble in [byte >> 4, byte & 15] {
                self.text
                    .push(char::from(HEX[usize::from(nibble)]).to_ascii_lowercase());
            }
        }
        SmolStr::new(self.text)
    }
}

/// Escapes a value as it is written: the first character of the literal after it, `%`, braces,
/// control characters and bytes that are not UTF-8. Everything else stays readable.
pub(super) struct ValueWriter<'r> {
    out: &'r mut Renderer,
    stop: Option<char>,
}

impl ValueWriter<'_> {
    pub(super) fn write_bytes(&mut self, value: &[u8]) {
        for chunk in value.utf8_chunks() {
            self.write_text(chunk.valid());
            for &byte in chunk.invalid() {
                self.out.push_escaped(byte);
            }
        }
    }

    fn write_text(&mut self, text: &str) {
        match self.stop {
            Some(stop) if !stop.is_ascii() => {
                // All bytes of the character are escaped: the others would not be valid UTF-8
                // alone.
                for piece in text.split_inclusive(stop) {
                    if let Some(before) = piece.strip_suffix(stop) {
                        self.write_until(before, 0);
                        for &byte in stop.encode_utf8(&mut [0; 4]).as_bytes() {
                            self.out.push_escaped(byte);
                        }
                    } else {
                        self.write_until(piece, 0);
                    }
                }
            }
            stop => self.write_until(text, stop.and_then(|c| u8::try_from(c).ok()).unwrap_or(0)),
        }
    }

    /// Writes text, and also escapes the byte `stop`.
    fn write_until(&mut self, text: &str, stop: u8) {
        let mut rest = text;
        let reserved =
            |byte: u8| byte < b' ' || matches!(byte, b'%' | b'{' | b'}' | 0x7f) || byte == stop;
        while let Some(at) = rest.bytes().position(reserved) {
            self.out.push(&rest[..at]);
            self.out.push_escaped(rest.as_bytes()[at]);
            rest = &rest[at + 1..];
        }
        self.out.push(rest);
    }
}

impl fmt::Write for ValueWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_text(text);
        Ok(())
    }
}
