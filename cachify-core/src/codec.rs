//! The envelope around an encoded value, and the formats of its payload.
//!
//! | bytes | content |
//! |---|---|
//! | 2 | `CA` and the envelope's version |
//! | 1 | format: 1 `MessagePack`, 2 JSON; 3 and 4 a tree for a value that 1 or 2 would change |
//! | 1 | zero |
//! | 8 | fingerprint of the type's name |
//! | 8 | time of storing, in microseconds of the backend's clock |
//! | 8 | time to live in milliseconds, all ones for never; or the time at which it was expired, in microseconds, plus 2^63 |
//! | 8 | time for which it is kept, fresh and stale, in milliseconds, all ones for never |
//! | 4 | duration of the computation in milliseconds |
//! | 4 | length of the payload |
//! | n | payload |
//!
//! Numbers are little-endian. Bytes in any other form, such as a truncated or longer payload, are
//! *unreadable*, and an unreadable entry counts as missing. So does an entry that is nested too
//! deep: decoding recurses, and a stack overflow would end the process.
//!
//! Structs are encoded by field name. So if two builds of a program order the fields differently,
//! they understand or refuse each other, but never mix up fields. Decoding runs no code but the
//! type's own `Deserialize`.
//!
//! Envelopes of version 1 are unreadable, because their `nil` may have been a `Some(None)`. So are
//! those of version 2, which lack two of the times.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::tree::{MAX_DEPTH, Node};
use crate::clock::Moment;
use crate::ttl::Life;
use crate::{Error, ErrorKind, Ttl};

mod first;
#[cfg(all(test, feature = "json"))]
#[allow(clippy::unwrap_used, clippy::option_option)]
mod shapes;
mod tree;

pub(crate) use self::first::check_first;

const MAGIC: [u8; 2] = [0xCA, 3];
pub(crate) const HEADER: usize = 44;
/// The positions of the time of storing, and of the times that count from it.
pub(crate) const STORED: usize = 12;
pub(crate) const TTL: usize = 20;
const KEPT: usize = 28;
const COST: usize = 36;

/// Marks a time to live that was replaced by the time of an [`expire`](crate::backend::Backend).
const EXPIRED: u64 = 1 << 63;

/// The encoding of values for a backend that stores bytes.
///
/// A handle reads values in every encoding, whatever its own is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Encoding {
    /// `MessagePack`, which is compact and fast.
    #[default]
    MessagePack,
    /// JSON, which is readable with any Redis client.
    ///
    /// A value that JSON would change, such as `Some(None)`, `NaN` or a map whose keys are not
    /// text, is stored in a binary form instead.
    #[cfg(feature = "json")]
    Json,
}

/// The lifetime of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) ttl: Ttl,
    /// The time for which it is kept after the `ttl`, to be served stale.
    pub(crate) stale: Duration,
    pub(crate) cost: Duration,
}

impl From<Ttl> for Times {
    fn from(ttl: Ttl) -> Self {
        Self {
            ttl,
            stale: Duration::ZERO,
            cost: Duration::ZERO,
        }
    }
}

/// Encodes `value` with its envelope.
pub(crate) fn encode<T: Serialize>(
    encoding: Encoding,
    value: &T,
    times: impl Into<Times>,
    stored_at: Moment,
) -> Result<Vec<u8>, Error> {
    let times = times.into();
    let mut out = Vec::with_capacity(HEADER + 128);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[format_of(encoding), 0]);
    out.extend_from_slice(&fingerprint::<T>().to_le_bytes());
    out.extend_from_slice(&stored_at.as_micros().to_le_bytes());
    for ttl in [times.ttl, times.ttl.extended(times.stale)] {
        out.extend_from_slice(&ttl.as_millis().unwrap_or(u64::MAX).to_le_bytes());
    }
    let cost = u32::try_from(times.cost.as_millis()).unwrap_or(u32::MAX);
    out.extend_from_slice(&cost.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    if !write_plain(encoding, value, &mut out)? {
        out.truncate(HEADER);
        out[2] += TREE;
        let tree = Node::of(value, is_human(encoding)).map_err(|_| not_encoded::<T>())?;
        rmp_serde::encode::write(&mut out, &tree).map_err(|_| not_encoded::<T>())?;
        measure(&out[HEADER..]).ok_or_else(too_deep)?;
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

/// Appends `value` in the format of `encoding`. Returns `false` if that format would change the
/// value.
fn write_plain<T: Serialize>(
    encoding: Encoding,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<bool, Error> {
    let measured = match encoding {
        Encoding::MessagePack => {
            rmp_serde::encode::write_named(out, value).map_err(|_| not_encoded::<T>())?;
            measure(&out[HEADER..])
        }
        #[cfg(feature = "json")]
        Encoding::Json => match serde_json::to_writer(&mut *out, value) {
            Ok(()) => measure_json(&out[HEADER..]),
            // Either a map has keys that are not text, or the type itself fails.
            Err(_) => return Ok(false),
        },
    };
    // A format writes everything that it changes as `nil`, so most values need no second look.
    Ok(match measured.ok_or_else(too_deep)? {
        Nil::Absent => true,
        Nil::Present => tree::is_plain(value, is_human(encoding)),
    })
}

/// Replaces the time of storing.
pub(crate) fn stamped(mut bytes: Vec<u8>, stored_at: Moment) -> Vec<u8> {
    if let Some(stamp) = bytes.get_mut(STORED..TTL) {
        stamp.copy_from_slice(&stored_at.as_micros().to_le_bytes());
    }
    bytes
}

fn too_deep() -> Error {
    Error::new(
        ErrorKind::Codec,
        "the value is nested over 128 deep, too deep to be read again; cache something flatter",
    )
}

/// The presence of a `nil`, or `null`, in encoded bytes.
enum Nil {
    Absent,
    Present,
}

impl From<bool> for Nil {
    fn from(present: bool) -> Self {
        if present { Self::Present } else { Self::Absent }
    }
}

/// Scans the output of `serde_json`. Returns `None` if `serde_json` would refuse to read it,
/// because it is nested over 128 deep.
#[cfg(feature = "json")]
fn measure_json(text: &[u8]) -> Option<Nil> {
    let (mut depth, mut in_string, mut escaped, mut null) = (0, false, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            b'n' if !in_string => null = true,
            _ => {}
        }
        if depth == MAX_DEPTH {
            return None;
        }
    }
    Some(null.into())
}

/// Decodes a value that [`encode`] made from one of the same type. Returns `None` if it is
/// unreadable.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (header, payload) = bytes.split_at_checked(HEADER)?;
    let (magic, rest) = header.split_at(2);
    let (format, rest) = rest.split_at(2);
    let (type_print, _) = rest.split_at(8);
    let length = &header[HEADER - 4..];
    if magic != MAGIC
        || type_print != fingerprint::<T>().to_le_bytes()
        || length != u32::try_from(payload.len()).ok()?.to_le_bytes()
    {
        return None;
    }
    match format {
        [1, 0] => {
            measure(payload)?;
            rmp_serde::from_slice(payload).ok()
        }
        #[cfg(feature = "json")]
        [2, 0] => serde_json::from_slice(payload).ok(),
        [format @ (3 | 4), 0] => {
            measure(payload)?;
            let tree: Node = rmp_serde::from_slice(payload).ok()?;
            tree.read(*format == 4).ok()
        }
        _ => None,
    }
}

/// Returns the times of the entry that is encoded in `bytes`, which [`decode`] could read.
pub(crate) fn life(bytes: &[u8]) -> Option<Life> {
    let number = |at: usize| {
        let bytes = bytes.get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    };
    let stored = Moment::from_micros(number(STORED)?);
    let after = |millis| match millis {
        u64::MAX => Moment::NEVER,
        millis => stored + Duration::from_millis(millis),
    };
    let cost = u32::from_le_bytes(*bytes.get(COST..)?.first_chunk()?);
    let ttl = number(TTL)?;
    let fresh_until = match ttl & !EXPIRED {
        micros if ttl & EXPIRED != 0 && ttl != u64::MAX => Moment::from_micros(micros),
        _ => after(ttl),
    };
    Some(Life {
        fresh_until,
        until: after(number(KEPT)?),
        cost: Duration::from_millis(cost.into()),
    })
}

/// Returns whether the entry that is encoded in `bytes` was expired before its time.
pub(crate) fn is_expired(bytes: &[u8]) -> bool {
    let ttl = bytes.get(TTL..KEPT);
    ttl.is_some_and(|ttl| ttl[7] & 0x80 != 0 && ttl != [0xff; 8])
}

/// Wraps any payload in an envelope, as a `T`.
#[cfg(feature = "testing")]
pub(crate) fn sealed<T>(format: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[format, 0]);
    out.extend_from_slice(&fingerprint::<T>().to_le_bytes());
    out.extend_from_slice(&[0; HEADER - STORED - 4]);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// Scans one `MessagePack` value. Returns `None` unless it is complete, and nested at most
/// [`MAX_DEPTH`] deep.
///
/// `rmp_serde` recurses once for each level, and does not count the levels of enums.
fn measure(mut bytes: &[u8]) -> Option<Nil> {
    // The number of values still to come on each level.
    let mut left = [0_u64; MAX_DEPTH];
    let (mut depth, mut nil) = (0, false);
    loop {
        nil |= bytes.first() == Some(&0xc0);
        let ((skipped, inside), rest) = step(bytes)?;
        bytes = rest.get(usize::try_from(skipped).ok()?..)?;
        if inside > 0 {
            if depth == MAX_DEPTH {
                return None;
            }
            left[depth] = inside;
            depth += 1;
            continue;
        }
        while depth > 0 {
            left[depth - 1] -= 1;
            if left[depth - 1] > 0 {
                break;
            }
            depth -= 1;
        }
        if depth == 0 {
            return bytes.is_empty().then(|| nil.into());
        }
    }
}

/// Reads the head of a value. Returns the number of bytes that belong to it, the number of values
/// inside it, and the bytes after the head.
fn step(bytes: &[u8]) -> Option<((u64, u64), &[u8])> {
    let (&head, rest) = bytes.split_first()?;
    let length = |width: usize| {
        let (length, rest) = rest.split_at_checked(width)?;
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte));
        Some((length, rest))
    };
    let (what, rest) = match head {
        0x80..=0x8f => ((0, 2 * u64::from(head & 0x0f)), rest),
        0x90..=0x9f => ((0, u64::from(head & 0x0f)), rest),
        0xa0..=0xbf => ((u64::from(head & 0x1f), 0), rest),
        0xc1 => return None,
        0xc4..=0xc6 | 0xd9..=0xdb => {
            let width = 1 << ((head - if head < 0xd0 { 0xc4 } else { 0xd9 }) as usize);
            let (length, rest) = length(width)?;
            ((length, 0), rest)
        }
        0xc7..=0xc9 => {
            let (length, rest) = length(1 << (head - 0xc7))?;
            ((length + 1, 0), rest)
        }
        0xca | 0xce | 0xd2 => ((4, 0), rest),
        0xcb | 0xcf | 0xd3 => ((8, 0), rest),
        0xcc | 0xd0 => ((1, 0), rest),
        0xcd | 0xd1 => ((2, 0), rest),
        0xd4..=0xd8 => ((1 + (1 << (head - 0xd4)), 0), rest),
        0xdc | 0xdd => {
            let (length, rest) = length(2 << (head - 0xdc))?;
            ((0, length), rest)
        }
        0xde | 0xdf => {
            let (length, rest) = length(2 << (head - 0xde))?;
            ((0, 2 * length), rest)
        }
        // Nil, booleans and small numbers.
        _ => ((0, 0), rest),
    };
    Some((what, rest))
}

const fn format_of(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::MessagePack => 1,
        #[cfg(feature = "json")]
        Encoding::Json => 2,
    }
}

/// The difference between the number of a plain format and of its tree.
const TREE: u8 = 2;

const fn is_human(encoding: Encoding) -> bool {
    match encoding {
        Encoding::MessagePack => false,
        #[cfg(feature = "json")]
        Encoding::Json => true,
    }
}

/// Returns an error without the message of the type's `Serialize`, which may contain the value.
fn not_encoded<T>() -> Error {
    Error::new(
        ErrorKind::Codec,
        format!(
            "a `{}` could not be encoded; see what its `Serialize` refuses",
            std::any::type_name::<T>()
        ),
    )
}

/// Returns the FNV-1a hash (Fowler, Noll, Vo) of the type's name, eight bytes at a time, because
/// every hit computes it. It does not protect against forgery; the decoding of the payload does.
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
        // The same type in another build has the same name.
        bytes[4..12].copy_from_slice(&fingerprint::<Point>().to_le_bytes());
        assert_eq!(decode::<Point>(&bytes), Some(Point { y: 2, x: 1 }));
    }

    /// A recursive enum, as in syntax trees: `rmp_serde` does not count how deep its variants are
    /// nested.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Term {
        Not(Box<Term>),
        Value(i32),
    }

    fn nested(depth: usize) -> Term {
        (0..depth).fold(Term::Value(1), |term, _| Term::Not(Box::new(term)))
    }

    fn envelope<T>(payload: &[u8]) -> Vec<u8> {
        let mut bytes = encode(
            Encoding::MessagePack,
            &(),
            Ttl::NEVER,
            Moment::from_micros(1),
        )
        .unwrap();
        bytes.truncate(HEADER);
        bytes[4..12].copy_from_slice(&fingerprint::<T>().to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        bytes[HEADER - 4..].copy_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn s3_no_nesting_overflows_the_stack() {
        let level = rmp_serde::to_vec(&nested(1)).unwrap();
        let level = &level[..level.len() - rmp_serde::to_vec(&nested(0)).unwrap().len()];
        for inside in [level, b"\x91\x00", b"\x81\x00", b"\x91"] {
            let bytes = envelope::<Term>(&inside.repeat(1_000_000));
            assert_eq!(decode::<Term>(&bytes), None);
        }
        #[cfg(feature = "json")]
        {
            let mut bytes = envelope::<Term>(&b"{\"Not\":".repeat(1_000_000));
            bytes[2] = format_of(Encoding::Json);
            assert_eq!(decode::<Term>(&bytes), None);
        }
    }

    #[test]
    fn c6_what_is_nested_too_deep_is_not_stored() {
        // The depth that the value itself adds. serde_json reads one level less than 128.
        for (encoding, own) in [(Encoding::MessagePack, 1), (Encoding::Json, 1)] {
            let encoded =
                |depth| encode(encoding, &nested(depth), Ttl::NEVER, Moment::from_micros(1));
            let deepest = (0..=MAX_DEPTH)
                .rfind(|&depth| encoded(depth).is_ok())
                .unwrap();
            assert!(deepest + own + 1 >= MAX_DEPTH, "{encoding:?}: {deepest}");
            for depth in 0..MAX_DEPTH + 10 {
                match encoded(depth) {
                    Ok(bytes) => assert_eq!(decode::<Term>(&bytes), Some(nested(depth))),
                    Err(error) => {
                        assert!(depth > deepest, "{encoding:?}: {depth}");
                        assert_eq!(error.kind(), ErrorKind::Codec);
                    }
                }
            }
        }
        let text = vec![r#"[{"\\\"#.to_owned(); 200];
        let encoded = encode(Encoding::Json, &text, Ttl::NEVER, Moment::from_micros(1)).unwrap();
        assert_eq!(
            decode::<Vec<String>>(&encoded),
            Some(text),
            "brackets in text are text"
        );
    }

    #[test]
    fn c6_a_payload_that_goes_on_is_unreadable() {
        let payload = rmp_serde::to_vec_named(&user()).unwrap();
        assert_eq!(decode::<User>(&envelope::<User>(&payload)), Some(user()));
        let longer = [payload.as_slice(), b"\xc0"].concat();
        assert_eq!(decode::<User>(&envelope::<User>(&longer)), None);
    }

    proptest! {
        /// If `rmp_serde` reads bytes to their end, `measure` also sees one value.
        #[test]
        fn c6_every_kind_of_value_is_measured_as_it_is_read(head: u8, next: u8, tail: Vec<u8>) {
            let bytes = [&[head, next % 20], tail.as_slice()].concat();
            let mut rest = bytes.as_slice();
            let read = rmp_serde::from_read::<_, serde::de::IgnoredAny>(&mut rest);
            if read.is_ok() {
                let read = bytes.len() - rest.len();
                prop_assert!(measure(&bytes[..read]).is_some());
                prop_assert!(measure(&bytes[..read - 1]).is_none());
            }
        }

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
