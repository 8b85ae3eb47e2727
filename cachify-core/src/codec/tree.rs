//! Trees, which keep values that the plain formats would change.
//!
//! `MessagePack` and JSON encode `Some(None)`, `Some(())` and `None` alike, and JSON has neither
//! `NaN` nor maps whose keys are not text. Plain formats are smaller and faster, so [`is_plain`]
//! decides whether a value needs a tree.

use serde::de::value::{Error, MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::ser::{self, Error as _, Serialize, Serializer};
use serde::{Deserialize, forward_to_deserialize_any};

/// The deepest nesting of a value, which is the deepest that `serde_json` reads.
pub(super) const MAX_DEPTH: usize = 128;

/// A value, as its `Serialize` describes it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize)]
pub(super) enum Node {
    /// `None` or `()` inside this many `Some`. Any other `Some` is represented by its content.
    #[serde(rename = "n")]
    Nil(u8),
    #[serde(rename = "b")]
    Bool(bool),
    #[serde(rename = "i")]
    Int(i64),
    #[serde(rename = "u")]
    Uint(u64),
    #[serde(rename = "I")]
    Int128(i128),
    #[serde(rename = "U")]
    Uint128(u128),
    /// The bits of a float, which have an order and keep `NaN`.
    #[serde(rename = "f")]
    Float(u32),
    #[serde(rename = "F")]
    Double(u64),
    #[serde(rename = "c")]
    Char(char),
    #[serde(rename = "s")]
    Text(String),
    #[serde(rename = "B")]
    Bytes(Vec<u8>),
    #[serde(rename = "l")]
    List(Vec<Self>),
    /// Alternating keys and values.
    #[serde(rename = "m")]
    Map(Vec<Self>),
}

impl Node {
    /// Makes the tree of `value`. `human` is the answer to `is_human_readable`, as for JSON.
    pub(super) fn of<T: Serialize>(value: &T, human: bool) -> Result<Self, Error> {
        value.serialize(Walk {
            keep: true,
            human,
            depth: 0,
        })
    }

    /// Makes a value from a tree that [`of`](Self::of) made.
    pub(super) fn read<T: DeserializeOwned>(self, human: bool) -> Result<T, Error> {
        T::deserialize(Reader { node: self, human })
    }

    /// Sorts lists and maps, since equal hash maps and sets can differ in order.
    pub(super) fn sort(&mut self) {
        match self {
            Self::List(items) => {
                items.iter_mut().for_each(Self::sort);
                items.sort_unstable();
            }
            Self::Map(nodes) => {
                nodes.iter_mut().for_each(Self::sort);
                let mut entries: Vec<_> = pairs(std::mem::take(nodes)).collect();
                entries.sort_unstable();
                nodes.extend(entries.into_iter().flat_map(<[Self; 2]>::from));
            }
            _ => {}
        }
    }
}

fn pairs(nodes: Vec<Node>) -> impl Iterator<Item = (Node, Node)> {
    let mut nodes = nodes.into_iter();
    std::iter::from_fn(move || Some((nodes.next()?, nodes.next()?)))
}

/// Returns whether a plain format with a `nil`, or `null`, keeps `value` unchanged.
pub(super) fn is_plain<T: Serialize>(value: &T, human: bool) -> bool {
    let walk = Walk {
        keep: false,
        human,
        depth: 0,
    };
    value.serialize(walk).is_ok()
}

/// A walk through a value that makes its tree, or finds a part that plain formats would change.
#[derive(Clone, Copy)]
struct Walk {
    /// Set to make the tree. Otherwise nothing is kept, and a part that plain formats would change
    /// is an error.
    keep: bool,
    human: bool,
    depth: usize,
}

impl Walk {
    fn kept<T: Default>(self, make: impl FnOnce() -> T) -> T {
        if self.keep { make() } else { T::default() }
    }

    fn text(self, text: &str) -> Node {
        Node::Text(self.kept(|| text.into()))
    }

    fn float(self, is_finite: bool, node: Node) -> Result<Node, Error> {
        if self.human && !self.keep && !is_finite {
            return Err(Error::custom("JSON writes null"));
        }
        Ok(node)
    }

    fn deeper(self) -> Result<Self, Error> {
        if self.depth == MAX_DEPTH {
            return Err(Error::custom("nested too deep"));
        }
        let depth = self.depth + 1;
        Ok(Self { depth, ..self })
    }

    fn parts(self, make: fn(Vec<Node>) -> Node) -> Result<Parts, Error> {
        Ok(Parts {
            walk: self.deeper()?,
            nodes: Vec::new(),
            make,
            variant: None,
        })
    }

    fn variant(self, name: &'static str, make: fn(Vec<Node>) -> Node) -> Result<Parts, Error> {
        let parts = self.deeper()?.parts(make)?;
        let variant = Some(name);
        Ok(Parts { variant, ..parts })
    }
}

macro_rules! serialize {
    ($($method:ident($type:ty) => $node:expr;)*) => {
        $(fn $method(self, value: $type) -> Result<Node, Error> {
            Ok($node(value.into()))
        })*
    };
    ($($method:ident($($type:ty),*) -> $result:ty = $make:expr;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$result, Error> {
            $make(self)
        })*
    };
}

impl Serializer for Walk {
    type Ok = Node;
    type Error = Error;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    serialize! {
        serialize_bool(bool) => Node::Bool;
        serialize_i8(i8) => Node::Int;
        serialize_i16(i16) => Node::Int;
        serialize_i32(i32) => Node::Int;
        serialize_i64(i64) => Node::Int;
        serialize_i128(i128) => Node::Int128;
        serialize_u8(u8) => Node::Uint;
        serialize_u16(u16) => Node::Uint;
        serialize_u32(u32) => Node::Uint;
        serialize_u64(u64) => Node::Uint;
        serialize_u128(u128) => Node::Uint128;
        serialize_char(char) => Node::Char;
    }

    serialize! {
        serialize_none() -> Node = |_| Ok(Node::Nil(0));
        serialize_unit() -> Node = |_| Ok(Node::Nil(0));
        serialize_unit_struct(&'static str) -> Node = |_| Ok(Node::Nil(0));
        serialize_seq(Option<usize>) -> Parts = |walk: Self| walk.parts(Node::List);
        serialize_tuple(usize) -> Parts = |walk: Self| walk.parts(Node::List);
        serialize_tuple_struct(&'static str, usize) -> Parts = |walk: Self| walk.parts(Node::List);
        serialize_map(Option<usize>) -> Parts = |walk: Self| walk.parts(Node::Map);
        serialize_struct(&'static str, usize) -> Parts = |walk: Self| walk.parts(Node::Map);
    }

    fn is_human_readable(&self) -> bool {
        self.human
    }

    fn serialize_f32(self, value: f32) -> Result<Node, Error> {
        self.float(value.is_finite(), Node::Float(value.to_bits()))
    }

    fn serialize_f64(self, value: f64) -> Result<Node, Error> {
        self.float(value.is_finite(), Node::Double(value.to_bits()))
    }

    fn serialize_str(self, text: &str) -> Result<Node, Error> {
        Ok(self.text(text))
    }

    fn collect_str<T: ?Sized + std::fmt::Display>(self, value: &T) -> Result<Node, Error> {
        Ok(Node::Text(self.kept(|| value.to_string())))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Node, Error> {
        Ok(Node::Bytes(self.kept(|| bytes.into())))
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Node, Error> {
        match value.serialize(self)? {
            Node::Nil(_) if !self.keep => Err(Error::custom("written as `None` would be")),
            Node::Nil(around) => match around.checked_add(1) {
                Some(around) => Ok(Node::Nil(around)),
                None => Err(Error::custom("nested too deep")),
            },
            node => Ok(node),
        }
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Node, Error> {
        Ok(self.text(variant))
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Node, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Node, Error> {
        let mut parts = self.parts(Node::Map)?;
        parts.push(variant)?;
        parts.push(value)?;
        Ok(parts.close())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts, Error> {
        self.variant(variant, Node::List)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts, Error> {
        self.variant(variant, Node::Map)
    }
}

/// The collected parts of a list, or keys and values of a map.
struct Parts {
    walk: Walk,
    nodes: Vec<Node>,
    make: fn(Vec<Node>) -> Node,
    /// The variant of an enum that they belong to.
    variant: Option<&'static str>,
}

impl Parts {
    fn push<T: ?Sized + Serialize>(&mut self, part: &T) -> Result<(), Error> {
        let node = part.serialize(self.walk)?;
        if self.walk.keep {
            self.nodes.push(node);
        }
        Ok(())
    }

    fn close(self) -> Node {
        let node = (self.make)(self.nodes);
        match self.variant {
            Some(name) if self.walk.keep => Node::Map(vec![self.walk.text(name), node]),
            _ => node,
        }
    }
}

macro_rules! parts {
    ($($trait:ident: $($method:ident($($name:ident)?))*;)*) => {
        $(impl ser::$trait for Parts {
            type Ok = Node;
            type Error = Error;

            $(fn $method<T: ?Sized + Serialize>(
                &mut self,
                $($name: &'static str,)?
                part: &T,
            ) -> Result<(), Error> {
                $(self.push($name)?;)?
                self.push(part)
            })*

            fn end(self) -> Result<Node, Error> {
                Ok(self.close())
            }
        })*
    };
}

parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key() serialize_value();
    SerializeStruct: serialize_field(name);
    SerializeStructVariant: serialize_field(name);
}

/// A deserializer that reads a tree, as the formats read their bytes.
struct Reader {
    node: Node,
    human: bool,
}

impl Reader {
    /// Returns the entries of a map.
    fn entries(
        nodes: Vec<Node>,
        human: bool,
    ) -> MapDeserializer<'static, impl Iterator<Item = (Self, Self)>, Error> {
        let reader = move |node| Self { node, human };
        MapDeserializer::new(pairs(nodes).map(move |(key, value)| (reader(key), reader(value))))
    }
}

impl<'de> Deserializer<'de> for Reader {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        self.human
    }

    /// Shows a `Some` to `serde`'s buffers (`flatten`, `untagged`, `tag`), which keep it for later.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let human = self.human;
        match self.node {
            Node::Nil(0) => visitor.visit_unit(),
            Node::Nil(around) => visitor.visit_some(Self {
                node: Node::Nil(around - 1),
                human,
            }),
            Node::Bool(value) => visitor.visit_bool(value),
            Node::Int(value) => visitor.visit_i64(value),
            Node::Uint(value) => visitor.visit_u64(value),
            Node::Int128(value) => visitor.visit_i128(value),
            Node::Uint128(value) => visitor.visit_u128(value),
            Node::Float(bits) => visitor.visit_f32(f32::from_bits(bits)),
            Node::Double(bits) => visitor.visit_f64(f64::from_bits(bits)),
            Node::Char(value) => visitor.visit_char(value),
            Node::Text(text) => visitor.visit_string(text),
            Node::Bytes(bytes) => visitor.visit_byte_buf(bytes),
            Node::List(items) => {
                let items = items.into_iter().map(|node| Self { node, human });
                SeqDeserializer::new(items).deserialize_any(visitor)
            }
            Node::Map(nodes) => Self::entries(nodes, human).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node {
            Node::Nil(0) => visitor.visit_none(),
            Node::Nil(_) => self.deserialize_any(visitor),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.node {
            Node::Map(nodes) => {
                let entries = Self::entries(nodes, self.human);
                visitor.visit_enum(MapAccessDeserializer::new(entries))
            }
            Node::Text(variant) => visitor.visit_enum(variant.into_deserializer()),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Reader {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
