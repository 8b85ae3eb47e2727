//! The envelope around an encoded value, and the formats it may hold.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | `CA` and the envelope's version |
//! | 1 | format: 1 `MessagePack`, 2 JSON |
//! | 1 | zero |
//! | 8 | fingerprint of the type's name |
//! | 8 | when it was stored, in microseconds of the backend's clock |
//! | 8 | its time to live in milliseconds, all ones for never |
//! | 4 | length of the payload |
//! | n | payload |
//!
//! Numbers are little-endian. Whatever differs from this, a truncated or longer payload included, is *unreadable*, and an unreadable
//! entry is a missing one. Structs are encoded by field name, so that two builds of a program with reordered fields understand or
//! refuse each other, but never mix fields up. Decoding runs no code but the type's own `Deserialize`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Moment;
use crate::{Error, ErrorKind, Ttl};

const MAGIC: [u8; 2] = [0xCA, 1];
const HEADER: usize = 32;

/// How values are encoded for a backend that needs bytes.
///
/// What was stored in one encoding is read whatever the handle's own is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Encoding {
    /// `MessagePack`, compact and fast.
    #[default]
    MessagePack,
    /// JSON, readable with any Redis client.
    #[cfg(feature = "json")]
    Json,
}

/// Encodes `value` with its envelope.
pub(crate) fn encode<T: Serialize>(
    encoding: Encoding,
    value: &T,
    ttl: Ttl,
    stored_at: Moment,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(HEADER + 128);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[format_of(encoding), 0]);
    out.extend_from_slice(&fingerprint::<T>().to_le_bytes());
    out.extend_from_slice(&stored_at.as_micros().to_le_bytes());
    out.extend_from_slice(&ttl.as_millis().unwrap_or(u64::MAX).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    match encoding {
        Encoding::MessagePack => {
            rmp_serde::encode::write_named(&mut out, value).map_err(not_encoded)?;
        }
        #[cfg(feature = "json")]
        Encoding::Json => serde_json::to_writer(&mut out, value).map_err(not_encoded)?,
    }
    let length = u32::try_from(out.len() - HEADER).map_err(|_| {
        Error::new(
            ErrorKind::Codec,
            "the encoded value is over 4 GiB; cache something smaller",
        )
    })?;
    out[HEADER - 4..HEADER].copy_from_slice(&length.to_le_bytes());
    Ok(out)
}

/// Decodes what [`encode`] made of a value of the same type; `None` if it is unreadable.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (header, payload) = bytes.split_at_checked(HEADER)?;
    let (magic, rest) = header.split_at(2);
    let (format, rest) = rest.split_at(2);
    let (type_print, rest) = rest.split_at(8);
    let length = &rest[16..];
    if magic != MAGIC
        || type_print != fingerprint::<T>().to_le_bytes()
        || length != u32::try_from(payload.len()).ok()?.to_le_bytes()
    {
        return None;
    }
    match format {
        [1, 0] => rmp_serde::from_slice(payload).ok(),
        #[cfg(feature = "json")]
        [2, 0] => serde_json::from_slice(payload).ok(),
        _ => None,
    }
}

const fn format_of(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::MessagePack => 1,
        #[cfg(feature = "json")]
        Encoding::Json => 2,
    }
}

fn not_encoded(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Codec,
        "the value could not be encoded; see whether its `Serialize` fails for it",
    )
    .with_source(error)
}

/// FNV-1a (Fowler, Noll, Vo) of the type's name, eight bytes at a time, since every hit computes it. No defence against forgery, which the
/// payload's own decoding is.
fn fingerprint<T>() -> u64 {
    let name = std::any::type_name::<T>().as_bytes();
    let (words, rest) = name.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    words
        .iter()
        .chain([&last])
        .fold(0xcbf2_9ce4_8422_2325, |hash, word| {
            (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::time::Duration;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct User {
        id: i64,
        name: String,
        tags: Vec<Option<String>>,
    }

    fn user() -> User {
        User {
            id: 7,
            name: "Ann".into(),
            tags: vec![None, Some("x".into())],
        }
    }

    fn encoded(encoding: Encoding) -> Vec<u8> {
        encode(
            encoding,
            &user(),
            Ttl::new(Duration::from_secs(1)),
            Moment::from_micros(1),
        )
        .unwrap()
    }

    #[test]
    fn c6_what_was_encoded_is_read() {
        assert_eq!(
            decode::<User>(&encoded(Encoding::MessagePack)),
            Some(user())
        );
        #[cfg(feature = "json")]
        assert_eq!(decode::<User>(&encoded(Encoding::Json)), Some(user()));
    }

    #[test]
    fn c6_truncated_or_longer_bytes_are_unreadable() {
        let bytes = encoded(Encoding::MessagePack);
        for end in 0..bytes.len() {
            assert_eq!(decode::<User>(&bytes[..end]), None, "cut at {end}");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert_eq!(decode::<User>(&longer), None);
    }

    #[test]
    fn c6_another_type_is_unreadable() {
        assert_eq!(
            decode::<(i64, String)>(&encoded(Encoding::MessagePack)),
            None
        );
    }

    #[test]
    fn c6_s26_reordered_fields_are_never_mixed_up() {
        mod old {
            #[derive(serde::Serialize)]
            pub(super) struct Point {
                pub(super) x: i32,
                pub(super) y: i32,
            }
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct Point {
            y: i32,
            x: i32,
        }
        let mut bytes = encode(
            Encoding::MessagePack,
            &old::Point { x: 1, y: 2 },
            Ttl::NEVER,
            Moment::from_micros(1),
        )
        .unwrap();
        // The same type in another build: the same name.
        bytes[4..12].copy_from_slice(&fingerprint::<Point>().to_le_bytes());
        assert_eq!(decode::<Point>(&bytes), Some(Point { y: 2, x: 1 }));
    }

    proptest! {
        #[test]
        fn s3_untrusted_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode::<User>(&bytes);
        }

        #[test]
        fn s3_damaged_envelopes_never_panic(at in 0_usize..64, byte: u8) {
            let mut bytes = encoded(Encoding::MessagePack);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode::<User>(&bytes);
        }
    }
}
