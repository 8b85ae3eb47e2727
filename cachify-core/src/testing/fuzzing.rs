//! Entry points for fuzzing. Each one feeds untrusted bytes to a parser, most of which are private,
//! and panics if a promise of the parser is broken.

use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::{Cacheable, Encoding, Key, KeyTemplate, Ttl, codec};

/// Parses a template and renders it, with the second half of the bytes as its arguments.
///
/// # Panics
///
/// If the result is not a valid key, or if two different arguments make the same key.
pub fn template(bytes: &[u8]) {
    let (template, argument) = bytes.split_at(bytes.len() / 2);
    let Ok(template) = std::str::from_utf8(template) else {
        return;
    };
    let Ok(template) = KeyTemplate::parse(template) else {
        return;
    };
    let placeholders = template.placeholders().count();
    let render = |argument: &str| {
        let arguments = vec![&argument as &dyn crate::KeyPart; placeholders];
        template.render(&arguments)
    };
    let argument = String::from_utf8_lossy(argument);
    let key = render(&argument);
    assert!(Key::is_text(key.as_str()), "{key:?}");
    let other = render(&format!("{argument}-"));
    assert_eq!(key == other, placeholders == 0, "{key:?} and {other:?}");
}

/// Decodes an entry, as it is and as the payload of a whole envelope.
///
/// # Panics
///
/// If a decoded value changes when it is encoded and decoded again.
pub fn envelope(bytes: &[u8]) {
    fn read<T: Cacheable + PartialEq>(bytes: &[u8]) {
        let (format, payload) = bytes.split_first().unwrap_or((&1, &[]));
        for bytes in [bytes.to_vec(), codec::sealed::<T>(*format, payload)] {
            let Some(value) = codec::decode::<T>(&bytes) else {
                continue;
            };
            let encoding = Encoding::MessagePack;
            let Ok(again) = codec::encode(encoding, &value, Ttl::NEVER, Moment::from_micros(0))
            else {
                continue;
            };
            assert!(codec::decode(&again) == Some(value), "{again:?}");
        }
    }
    read::<String>(bytes);
    read::<Vec<Option<Option<u64>>>>(bytes);
    read::<BTreeMap<String, (i64, bool, Option<String>)>>(bytes);
}

/// Decodes a response that is stored in Redis.
#[cfg(feature = "http")]
pub fn stored(bytes: &[u8]) {
    crate::http::fuzz_stored(bytes);
}

/// Reads header fields of requests and responses, one on each line, the name before a colon.
#[cfg(feature = "http")]
pub fn fields(bytes: &[u8]) {
    crate::http::fuzz_fields(bytes);
}

/// Reads a message on the channel of this process.
#[cfg(feature = "redis")]
pub fn message(bytes: &[u8]) {
    crate::backend::redis::fuzz_message(bytes);
}
