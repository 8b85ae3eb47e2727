use std::fmt;

use arrayvec::ArrayString;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;

/// The longest key, in bytes, that is stored as its whole text.
pub(super) const MAX_LEN: usize = 512;

/// How many bytes of a longer key remain readable.
pub(super) const START_LEN: usize = 190;

/// Stands between the start of a long key and its hash. Behind a `%`, a value has two hexadecimal
/// digits and a literal an `x`, so that neither can contain this.
pub(super) const LONG_SEPARATOR: &str = "%#";

/// Stands between a key and the name of a variant of its entry. It cannot be in either, as above.
#[cfg(feature = "http")]
const VARIANT_SEPARATOR: &str = "%v";

/// The key `text` with the name of a variant, which is free of `%`.
#[cfg(feature = "http")]
pub(super) fn variant(text: &str, name: &str) -> SmolStr {
    let mut key = Renderer::new();
    for part in [text, VARIANT_SEPARATOR, name] {
        key.push(part);
    }
    key.finish()
}

/// What a key without any text is stored as: an empty hash tag would be no hash tag.
const EMPTY: &str = "%empty";

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Collects a key's text. Up to [`MAX_LEN`] bytes it does not allocate, and past them it only
/// hashes, so that the largest value costs no memory.
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

    /// Appends text that is in its final form.
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

    /// Appends a value that is followed by the literal `next`.
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

/// Escapes a value as it is written: what could be taken for the literal behind it, `%`, braces,
/// control characters and bytes that are no UTF-8. All else reads as itself.
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
                // Escaping only its first byte would leave the others without a beginning.
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

    /// Writes text in which the byte `stop` needs escaping as well.
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
