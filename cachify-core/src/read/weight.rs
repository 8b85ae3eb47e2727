//! Estimates how much memory a value takes.
//!
//! The value is serialized without writing anything: text and bytes report their lengths. The walk
//! is bounded. Of a long list, it visits the first items and assumes that the others are as large.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize, Serializer};

/// The largest number of values that are visited, including nested values.
const VALUES: usize = 4096;
/// The largest number of items that are visited in one list or map.
const ITEMS: usize = 256;
/// The bytes that a `String`, a `Vec` or a map takes besides its contents.
const HEADER: usize = 24;

/// Estimates how many bytes `value` takes in memory.
pub(crate) fn estimate<T: Serialize>(value: &T) -> usize {
    let mut scales = Scales {
        bytes: 0,
        left: VALUES,
    };
    scales.add(value);
    // Fields that are not serialized take memory as well.
    scales.bytes.max(size_of::<T>())
}

struct Scales {
    bytes: usize,
    left: usize,
}

/// Ends a walk: the rest of a list is not visited, or the type's own `Serialize` failed.
#[derive(Debug)]
struct Stop;

impl Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rest is estimated")
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

impl Scales {
    /// Adds the size of a value, or of the part of it that could be visited.
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) {
        if self.left > 0 {
            self.left -= 1;
            // An error ends the walk of this value only.
            let _ = value.serialize(self);
        }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn items(&mut self, len: Option<usize>) -> Items<'_> {
        self.count(HEADER);
        Items {
            before: self.bytes,
            scales: self,
            len,
            seen: 0,
        }
    }
}

/// A list, a map or the fields of a struct.
struct Items<'a> {
    scales: &'a mut Scales,
    /// The number of bytes before the first item.
    before: usize,
    len: Option<usize>,
    seen: usize,
}

impl Items<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Stop> {
        if self.seen == ITEMS || self.scales.left == 0 {
            let rest = self.len.unwrap_or(0).saturating_sub(self.seen);
            let bytes = self.scales.bytes - self.before;
            let rest = bytes.saturating_mul(rest) / self.seen.max(1);
            self.scales.count(rest);
            return Err(Stop);
        }
        self.seen += 1;
        self.scales.add(item);
        Ok(())
    }
}

macro_rules! fixed {
    ($($method:ident: $type:ty)*) => {
        $(fn $method(self, _: $type) -> Result<(), Stop> {
            self.count(size_of::<$type>());
            Ok(())
        })*
    };
}

macro_rules! compound {
    ($($method:ident($($name:ident: $type:ty),*) -> $len:expr;)*) => {
        $(fn $method(self, $($name: $type),*) -> Result<Items<'a>, Stop> {
            Ok(self.items($len))
        })*
    };
}

impl<'a> Serializer for &'a mut Scales {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Items<'a>;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = Items<'a>;
    type SerializeMap = Items<'a>;
    type SerializeStruct = Items<'a>;
    type SerializeStructVariant = Items<'a>;

    fixed! {
        serialize_bool: bool
        serialize_i8: i8
        serialize_i16: i16
        serialize_i32: i32
        serialize_i64: i64
        serialize_i128: i128
        serialize_u8: u8
        serialize_u16: u16
        serialize_u32: u32
        serialize_u64: u64
        serialize_u128: u128
        serialize_f32: f32
        serialize_f64: f64
        serialize_char: char
    }

    fn serialize_str(self, text: &str) -> Result<(), Stop> {
        self.serialize_bytes(text.as_bytes())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Stop> {
        self.count(HEADER.saturating_add(bytes.len()));
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Stop> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        self.add(value);
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Stop> {
        self.count(size_of::<usize>());
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Stop> {
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        self.add(value);
        Ok(())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        self.add(value);
        Ok(())
    }

    compound! {
        serialize_seq(len: Option<usize>) -> len;
        serialize_tuple(len: usize) -> Some(len);
        serialize_tuple_struct(_name: &'static str, len: usize) -> Some(len);
        serialize_tuple_variant(
            _name: &'static str, _index: u32, _variant: &'static str, len: usize
        ) -> Some(len);
        serialize_map(len: Option<usize>) -> len.map(|len| len.saturating_mul(2));
        serialize_struct(_name: &'static str, len: usize) -> Some(len);
        serialize_struct_variant(
            _name: &'static str, _index: u32, _variant: &'static str, len: usize
        ) -> Some(len);
    }
}

macro_rules! items {
    ($($trait:ident::$method:ident)*) => {
        $(impl ser::$trait for Items<'_> {
            type Ok = ();
            type Error = Stop;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Stop> {
                self.add(item)
            }

            fn end(self) -> Result<(), Stop> {
                Ok(())
            }
        })*
    };
}

items! {
    SerializeSeq::serialize_element
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

impl ser::SerializeMap for Items<'_> {
    type Ok = ();
    type Error = Stop;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stop> {
        self.add(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.add(value)
    }

    fn end(self) -> Result<(), Stop> {
        Ok(())
    }
}

macro_rules! fields {
    ($($trait:ident)*) => {
        $(impl ser::$trait for Items<'_> {
            type Ok = ();
            type Error = Stop;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                field: &T,
            ) -> Result<(), Stop> {
                self.add(field)
            }

            fn end(self) -> Result<(), Stop> {
                Ok(())
            }
        })*
    };
}

fields! { SerializeStruct SerializeStructVariant }

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    struct Page {
        title: String,
        rows: Vec<(u64, String)>,
        body: Option<Vec<u8>>,
    }

    #[track_caller]
    fn weighs(value: &impl Serialize, about: usize) {
        let estimate = estimate(value);
        let range = about * 9 / 10..=about * 13 / 10 + 100;
        assert!(range.contains(&estimate), "{estimate}, not {about}");
    }

    #[test]
    fn c11_values_weigh_about_what_they_take() {
        weighs(&7_u64, 8);
        weighs(&"x".repeat(100_000), 100_000);
        weighs(&vec![1_u8; 100_000], 100_000);
        weighs(&vec!["x".repeat(1000); 5000], 5000 * 1024);
        weighs(&vec![vec![vec![1_u64; 100]; 100]; 100], 100 * 100 * 824);
        let map: std::collections::BTreeMap<_, _> =
            (0..10_000_u64).map(|n| (n, "x".repeat(100))).collect();
        weighs(&map, 10_000 * 132);
        let page = Page {
            title: "x".repeat(50),
            rows: vec![(1, "x".repeat(1000)); 10_000],
            body: Some(vec![0; 1_000_000]),
        };
        weighs(&page, 10_000 * 1056 + 1_000_000);
    }

    #[test]
    fn c11_a_value_that_cannot_be_walked_weighs_its_size() {
        struct Broken([u64; 10]);
        impl Serialize for Broken {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                let _ = self.0;
                Err(ser::Error::custom("broken"))
            }
        }
        weighs(&Broken([0; 10]), 80);
    }
}
