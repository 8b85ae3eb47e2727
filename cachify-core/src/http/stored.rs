//! The entries of a cached route: responses, and indexes of variants.

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AGE, CACHE_STATUS, CONNECTION, CONTENT_LENGTH, DATE, ETAG};
use http::header::{
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::cacheable::{UNSTORED, can_be_an_entry};
use super::directives::LARGEST;
use super::stale::Windows;
use super::vary::meaning;
use crate::clock::Moment;
use crate::read::policy::sealed::Unstored;
use crate::{Key, Ttl};

/// The entry of a key.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) enum HttpEntry {
    Answer(Stored),
    /// An index: the responses vary by these request fields, and are stored beside this entry.
    Varies(Varies),
    /// A response for one client, which is never stored, and its effect on a stale entry.
    #[serde(skip)]
    Own(Unstored),
}

/// A stored response, cheap to clone.
#[derive(Clone)]
pub(super) struct Stored(Arc<Parts>);

pub(super) struct Parts {
    pub(super) status: StatusCode,
    /// Without headers of one connection. `Age` and `Cache-Status` are placeholders, so that the
    /// headers of a hit need not grow.
    pub(super) headers: HeaderMap,
    /// The headers of the last hit, which are valid for a second.
    pub(super) last_hit: RwLock<Option<Told>>,
    pub(super) body: Bytes,
    /// Set if a cache closer to the origin added a member to `Cache-Status`.
    pub(super) upstream: bool,
    pub(super) facts: Facts,
}

/// The metadata of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// The age at which it was received, in seconds.
    pub(super) age: u64,
    /// Set if requests with `Authorization` may get it, too.
    pub(super) open: bool,
    /// The time at which it was stored, by the backend's clock.
    pub(super) at: Moment,
    pub(super) ttl: Ttl,
    /// The times after its lifetime.
    pub(super) stale: Windows,
}

/// The headers of a hit, and the age and remaining life in them, in seconds.
pub(super) struct Told {
    pub(super) age: u64,
    pub(super) left: Option<u64>,
    pub(super) headers: HeaderMap,
}

impl std::ops::Deref for Stored {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("status", &self.status)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl Stored {
    /// Builds an entry from a response whose status and length [can be an entry](can_be_an_entry).
    pub(super) fn new(
        status: StatusCode,
        mut headers: HeaderMap,
        body: Bytes,
        facts: Facts,
    ) -> Self {
        if status.is_success() && !headers.contains_key(ETAG) {
            headers.insert(ETAG, etag(&headers, &body));
        }
        // Otherwise the server would add the time of each hit (RFC 9110, 6.6.1).
        if !headers.contains_key(DATE)
            && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
        {
            headers.insert(DATE, date);
        }
        Self::framed(status, headers, body, facts)
    }

    /// Combines headers and body, and makes the framing headers match the body. Both may come from
    /// an untrusted source.
    fn framed(status: StatusCode, mut headers: HeaderMap, body: Bytes, facts: Facts) -> Self {
        remove_hop_by_hop(&mut headers);
        if status == StatusCode::NO_CONTENT {
            headers.remove(CONTENT_LENGTH);
        } else {
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        headers.insert(AGE, HeaderValue::from_static("0"));
        let upstream = headers.contains_key(CACHE_STATUS);
        if !upstream {
            headers.insert(CACHE_STATUS, HeaderValue::from_static("cachify"));
        }
        Self(Arc::new(Parts {
            status,
            headers,
            last_hit: RwLock::default(),
            body,
            upstream,
            facts,
        }))
    }

    /// Returns the size in memory, in bytes.
    pub(super) fn size(&self) -> usize {
        // The overhead of a header map for each field.
        const FIELD: usize = 128;
        let fields = self.headers.iter();
        let headers: usize = fields
            .map(|(name, value)| FIELD + name.as_str().len() + value.len())
            .sum();
        // A hit makes its own headers, which are kept for the next one.
        size_of::<Parts>() + self.body.len() + 2 * headers
    }

    /// Returns the age and the remaining life, in seconds.
    pub(super) fn age(&self, now: Moment) -> (u64, Option<u64>) {
        let Facts { age, at, ttl, .. } = self.facts;
        let here = now.since(at);
        let left = ttl
            .as_duration()
            .map(|ttl| ttl.saturating_sub(here).as_secs());
        (age.saturating_add(here.as_secs()).min(LARGEST), left)
    }
}

/// Makes an entity tag from the body and from the fields that say how to read it.
///
/// It is weak, because an outer layer may change the encoding of the body and keep the tag.
fn etag(headers: &HeaderMap, body: &[u8]) -> HeaderValue {
    let mut hash = Sha256::new();
    for name in ["content-type", "content-encoding", "content-language"] {
        meaning(name, headers, |part| hash.update(part));
    }
    hash.update(body);
    let mut tag = String::with_capacity(36);
    tag.push_str("W/\"");
    push_hex(&mut tag, &hash.finalize()[..16]);
    tag.push('"');
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("W/\"\""))
}

pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
}

/// Removes the fields of one connection (RFC 9110, 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // These belong to the message, even if `Connection` names them.
        .filter(|name| *name != CONTENT_LENGTH && *name != CACHE_STATUS)
        .collect();
    let fixed = [
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("proxy-authentication-info"),
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in named.iter().chain(&fixed) {
        headers.remove(name);
    }
}

/// An index of variants: the fields by which the responses under one key differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Varies {
    /// Sorted names of header fields, separated by commas.
    fields: String,
    /// Part of the name of each variant, so that without this entry, no variant can be found.
    nonce: u64,
    /// The time for which it is kept, in milliseconds. Zero: as long as the rules say.
    #[serde(default)]
    life: u64,
    /// The end of that time, in microseconds of the backend's clock.
    #[serde(default)]
    until: u64,
}

impl Varies {
    pub(super) fn by<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_unstable();
        fields.dedup();
        Self {
            fields: fields.join(","),
            nonce: fastrand::u64(..),
            life: 0,
            until: 0,
        }
    }

    /// Extends its life so that it outlives a variant that is stored `now` and may be served stale.
    /// Returns whether that was necessary.
    ///
    /// It gets twice the time, so that not every variant has to renew it.
    pub(super) fn outlive(&mut self, variant: Facts, now: Moment) -> bool {
        let kept = variant.ttl.extended(variant.stale.longest());
        let end = |ttl: Ttl| ttl.as_duration().map_or(Moment::NEVER, |ttl| now + ttl);
        if variant.stale.longest().is_zero() || end(kept).as_micros() <= self.until {
            return false;
        }
        let life = kept.extended(kept.as_duration().unwrap_or_default());
        self.life = life.as_millis().unwrap_or(u64::MAX);
        self.until = end(life).as_micros();
        true
    }

    /// Returns the time for which it is kept, unless the rules say longer.
    pub(super) fn life(&self) -> Ttl {
        match self.life {
            u64::MAX => Ttl::NEVER,
            millis => Ttl::new(Duration::from_millis(millis)),
        }
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.split(',')
    }

    pub(super) fn covers(&self, field: &HeaderName) -> bool {
        self.fields().any(|known| known == field.as_str())
    }

    pub(super) fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Returns the key of the variant for a request with these headers.
    pub(super) fn variant(&self, key: &Key, headers: &HeaderMap) -> Key {
        let mut hash = Sha256::new();
        for field in self.fields() {
            meaning(field, headers, |part| hash.update(part));
        }
        let mut name = String::with_capacity(16 + 1 + 64);
        push_hex(&mut name, &self.nonce.to_be_bytes());
        name.push(':');
        push_hex(&mut name, &hash.finalize());
        key.variant(&name)
    }
}

/// Bytes that serialize in their compact form.
struct Blob(Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor;

        impl<'de> Visitor<'de> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }

            // JSON has no bytes, only lists of numbers.
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Blob, A::Error> {
                let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(4096));
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes.into()))
            }
        }

        deserializer.deserialize_bytes(BlobVisitor)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The most headers of an entry. No server or client accepts that many.
const MOST_HEADERS: usize = 4096;

/// The encoded form of a response.
#[derive(serde::Serialize, serde::Deserialize)]
struct Encoded {
    status: u16,
    headers: Vec<(String, Blob)>,
    body: Blob,
    age: u64,
    #[serde(default)]
    open: bool,
    at: u64,
    ttl: Option<u64>,
    /// In milliseconds, as `ttl`.
    #[serde(default)]
    at_once: u64,
    #[serde(default)]
    on_error: u64,
}

impl Serialize for Stored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ours = |name: &HeaderName| *name == AGE || *name == CACHE_STATUS && !self.upstream;
        let headers = self.headers.iter().filter(|(name, _)| !ours(name));
        Encoded {
            status: self.status.as_u16(),
            headers: headers
                .map(|(name, value)| {
                    let value = Bytes::copy_from_slice(value.as_bytes());
                    (name.as_str().to_owned(), Blob(value))
                })
                .collect(),
            body: Blob(self.body.clone()),
            age: self.facts.age,
            open: self.facts.open,
            at: self.facts.at.as_micros(),
            ttl: self.facts.ttl.as_millis(),
            at_once: millis(self.facts.stale.at_once),
            on_error: millis(self.facts.stale.on_error),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let encoded = Encoded::deserialize(deserializer)?;
        let body = encoded.body.0;
        let status = StatusCode::from_u16(encoded.status).map_err(de::Error::custom)?;
        if !can_be_an_entry(status, body.len() as u64) {
            return Err(de::Error::custom("no response of this status is stored"));
        }
        // A header map panics beyond its capacity, which is far above this.
        if encoded.headers.len() > MOST_HEADERS {
            return Err(de::Error::custom("too many headers"));
        }
        let mut headers = HeaderMap::with_capacity(encoded.headers.len() + 2);
        for (name, value) in encoded.headers {
            let name = HeaderName::try_from(name).map_err(de::Error::custom)?;
            if UNSTORED.contains(&name) {
                return Err(de::Error::custom("a header that is never stored"));
            }
            let value = HeaderValue::from_maybe_shared(value.0).map_err(de::Error::custom)?;
            headers.try_append(name, value).map_err(de::Error::custom)?;
        }
        let facts = Facts {
            age: encoded.age,
            open: encoded.open,
            at: Moment::from_micros(encoded.at),
            ttl: encoded
                .ttl
                .map_or(Ttl::NEVER, |millis| Ttl::new(Duration::from_millis(millis))),
            stale: Windows {
                at_once: Duration::from_millis(encoded.at_once),
                on_error: Duration::from_millis(encoded.on_error),
            },
        };
        Ok(Self::framed(status, headers, body, facts))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::codec::{Encoding, decode, encode};
    use crate::{Cacheable, KeyTemplate};
    use http::header::{ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_TYPE};
    use proptest::prelude::*;

    fn stored(headers: &[(HeaderName, &[u8])], body: &'static [u8]) -> Stored {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value).unwrap()))
            .collect();
        Stored::new(StatusCode::OK, headers, Bytes::from_static(body), FACTS)
    }

    const FACTS: Facts = Facts {
        age: 40,
        open: true,
        at: Moment::from_micros(5),
        ttl: Ttl::NEVER,
        stale: Windows {
            at_once: Duration::from_secs(7),
            on_error: Duration::from_secs(8),
        },
    };

    fn bytes<T: Cacheable>(encoding: Encoding, value: &T) -> Vec<u8> {
        encode(encoding, value, Ttl::NEVER, Moment::from_micros(5)).unwrap()
    }

    #[test]
    fn h3_headers_and_body_survive_encoding_byte_for_byte() {
        let lines: [(_, &[u8]); 3] = [
            (CONTENT_TYPE, b"text/\xff"),
            (HeaderName::from_static("x-b"), b"2"),
            (HeaderName::from_static("x-a"), b" padded"),
        ];
        let stored = stored(&lines, b"\0\xff");
        for encoding in [
            Encoding::MessagePack,
            #[cfg(feature = "json")]
            Encoding::Json,
        ] {
            let entry = bytes(encoding, &HttpEntry::Answer(stored.clone()));
            let Some(HttpEntry::Answer(read)) = decode(&entry) else {
                panic!("{encoding:?} cannot be read");
            };
            assert_eq!(read.headers, stored.headers);
            assert_eq!(read.body, stored.body);
            assert_eq!(read.facts, FACTS);
            let names: Vec<_> = read.headers.keys().take(3).collect();
            assert_eq!(names, ["content-type", "x-b", "x-a"]);
        }
    }

    #[test]
    fn h3_headers_of_one_connection_are_not_kept() {
        let stored = stored(
            &[
                (CONNECTION, b"close, X-Hop"),
                (HeaderName::from_static("keep-alive"), b"1"),
                (HeaderName::from_static("x-hop"), b"1"),
                (HeaderName::from_static("x-end"), b"1"),
                (UPGRADE, b"h3"),
            ],
            b"",
        );
        let mut names: Vec<_> = stored.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let kept = [
            "age",
            "cache-status",
            "content-length",
            "date",
            "etag",
            "x-end",
        ];
        assert_eq!(names, kept);
    }

    #[test]
    fn h3_a_tag_is_made_of_the_body_unless_there_is_one() {
        let tag = |stored: &Stored| stored.headers[ETAG].clone();
        assert_eq!(tag(&stored(&[], b"a")), tag(&stored(&[], b"a")));
        assert_ne!(tag(&stored(&[], b"a")), tag(&stored(&[], b"b")));
        assert!(tag(&stored(&[], b"a")).as_bytes().starts_with(b"W/\""));
        for (name, value) in [
            (CONTENT_TYPE, &b"text/html"[..]),
            (CONTENT_ENCODING, b"gzip"),
        ] {
            assert_ne!(
                tag(&stored(&[(name, value)], b"a")),
                tag(&stored(&[], b"a"))
            );
        }
        assert_eq!(tag(&stored(&[(ETAG, b"W/\"1\"")], b"a")), "W/\"1\"");
    }

    #[test]
    fn h3_an_age_goes_on_from_what_it_was() {
        let (age, left) =
            stored(&[], b"").age(Moment::from_micros(5) + std::time::Duration::from_secs(2));
        assert_eq!((age, left), (42, None));
    }

    #[test]
    fn h2_variants_lie_beside_their_key_and_apart() {
        let key = KeyTemplate::parse("page-{n}").unwrap().render(&[&1]);
        let varies = Varies::by(["accept-language"]);
        let ask = |values: &[&str]| {
            let headers = values.iter().map(|v| (ACCEPT_LANGUAGE, v.parse().unwrap()));
            varies.variant(&key, &headers.collect())
        };
        let (en, de) = (ask(&["en"]), ask(&["de"]));
        assert_eq!(ask(&["en"]), en);
        for (a, b) in [
            (&en, &de),
            (&ask(&["en", "de"]), &ask(&["de, en"])),
            (&ask(&[]), &ask(&[""])),
        ] {
            assert_ne!(a, b);
        }
        assert!(en.as_str().starts_with("page-1%v"));
        assert_ne!(
            Varies::by(["accept-language"]).variant(&key, &HeaderMap::new()),
            ask(&[])
        );
        // No value can forge the key of a variant.
        let forged = KeyTemplate::parse("page-{n}").unwrap();
        assert_ne!(forged.render(&[&&en.as_str()["page-".len()..]]), en);
    }

    #[test]
    fn k5_a_variant_of_a_long_key_is_bounded() {
        let key = KeyTemplate::parse("x{n}")
            .unwrap()
            .render(&[&"y".repeat(511)]);
        let variant = Varies::by(["accept"]).variant(&key, &HeaderMap::new());
        assert!(variant.as_str().len() <= 512);
        assert_ne!(
            variant,
            Varies::by(["accept"]).variant(&key, &HeaderMap::new())
        );
    }

    #[test]
    fn what_is_for_one_client_cannot_be_encoded() {
        let own = encode(
            Encoding::MessagePack,
            &HttpEntry::Own(Unstored::Keeps),
            Ttl::NEVER,
            Moment::from_micros(5),
        );
        assert!(own.is_err());
    }

    proptest! {
        #[test]
        fn s3_damaged_answers_never_panic(
            at: prop::sample::Index,
            byte: u8,
            cut: prop::sample::Index,
        ) {
            let entry = HttpEntry::Answer(stored(&[(ETAG, b"a"), (CONTENT_TYPE, b"b")], b"body"));
            let mut payload = rmp_serde::to_vec_named(&entry).unwrap();
            let at = at.index(payload.len());
            payload[at] = byte;
            let _ = rmp_serde::from_slice::<HttpEntry>(&payload);
            let cut = cut.index(payload.len());
            let _ = rmp_serde::from_slice::<HttpEntry>(&payload[..cut]);
        }

        #[test]
        fn s3_untrusted_answers_never_panic(payload: Vec<u8>) {
            let _ = rmp_serde::from_slice::<HttpEntry>(&payload);
        }
    }
}
