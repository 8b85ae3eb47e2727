//! Path parameters, for frameworks that deserialize them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The path parameters of a request, deserialized from a map that may repeat a name.
///
/// # Examples
///
/// ```
/// use cachify_core::http::PathParams;
/// use serde::Deserialize as _;
/// use serde::de::value::{Error, MapDeserializer};
///
/// let map = MapDeserializer::<_, Error>::new([("id", "7"), ("id", "8")].into_iter());
/// let params = PathParams::deserialize(map)?;
/// assert_eq!(params.iter().last(), Some(("id", "8")));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Default)]
pub struct PathParams(Vec<(String, String)>);

impl PathParams {
    /// Returns the names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let params = self.0.iter();
        params.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<'de> Deserialize<'de> for PathParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = PathParams;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("path parameters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PathParams, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(PathParams(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}
