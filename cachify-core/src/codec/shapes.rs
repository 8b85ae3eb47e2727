//! Tests that values of every shape of `serde` read back unchanged, in both formats.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::*;

const ENCODINGS: [Encoding; 2] = [Encoding::MessagePack, Encoding::Json];

fn encoded<T: Serialize>(encoding: Encoding, value: &T) -> Result<Vec<u8>, Error> {
    encode(encoding, value, Ttl::NEVER, Moment::from_micros(1))
}

/// Asserts that a value reads back unchanged. Compares text, in which `NaN` equals `NaN`, and
/// `-0.0` differs from `0.0`.
fn assert_kept<T: Serialize + DeserializeOwned + Debug>(value: &T) {
    for encoding in ENCODINGS {
        let bytes = encoded(encoding, value).unwrap();
        let read: Option<T> = decode(&bytes);
        assert_eq!(
            format!("{read:?}"),
            format!("{:?}", Some(value)),
            "{encoding:?}"
        );
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct UnitStruct;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Empty {}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct EmptyTuple();

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Newtype<T>(T);

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Shape {
    Unit,
    EmptyTuple(),
    EmptyStruct {},
    Nullable(Option<Option<i32>>),
    Nested(Option<Option<Option<()>>>),
    Void(Option<()>),
    UnitStruct(Option<UnitStruct>, UnitStruct),
    Empty(Option<Empty>, Option<EmptyTuple>),
    Newtype(Option<Newtype<Option<Newtype<()>>>>),
    Numbers(i8, u64, Option<i128>, u128),
    Floats(f32, Option<Option<f64>>),
    Text(char, Option<Option<String>>),
    Voids(Option<Vec<Option<()>>>),
    Array([Option<()>; 2]),
    List(Vec<Option<Option<Self>>>),
    Keys(BTreeMap<Option<Option<u8>>, Self>),
    OptionalKeys(BTreeMap<Option<String>, Option<Option<bool>>>),
    TupleKeys(BTreeMap<(i8, UnitStruct), Newtype<Option<()>>>),
    Hashed(HashMap<i64, Option<Option<i8>>>),
    Record {
        a: Option<Option<Box<Self>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        b: Option<Option<u8>>,
        c: Option<Json>,
    },
    Flat(Flat),
    Untagged(Option<Untagged>),
    Internal(Internal),
    Adjacent(Option<Adjacent>),
    Json(Option<Option<Json>>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Flat {
    own: Option<Option<i32>>,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    rest: BTreeMap<String, Option<Option<f64>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Inner {
    nullable: Option<Option<String>>,
    units: Vec<Option<UnitStruct>>,
    letter: char,
    variant: Option<Option<Plain>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Plain {
    Unit,
    Newtype(Option<()>),
    Tuple(f32, Option<Option<u8>>),
    Struct { a: Option<Option<bool>> },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    // This variant comes first, since a missing `nullable` is `None`.
    Float { float: f64 },
    Struct { nullable: Option<Option<i32>> },
    Text(String),
    Unit,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Unit,
    Struct { nullable: Option<Option<i32>> },
    Newtype(Inner),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", content = "content")]
enum Adjacent {
    Unit,
    Void(Option<()>),
    Tuple(Option<Option<i32>>, f64),
    Struct { nullable: Option<Option<i32>> },
}

/// Returns `any::<T>()`, boxed.
fn of<T: Arbitrary + 'static>() -> BoxedStrategy<T> {
    any::<T>().boxed()
}

/// Returns floats of all bit patterns: `NaN`, infinities, and numbers with all their digits.
fn doubles() -> BoxedStrategy<f64> {
    of::<u64>().prop_map(f64::from_bits).boxed()
}

fn singles() -> BoxedStrategy<f32> {
    of::<u32>().prop_map(f32::from_bits).boxed()
}

fn nullable<T: Debug + 'static>(inner: BoxedStrategy<T>) -> BoxedStrategy<Option<Option<T>>> {
    proptest::option::of(proptest::option::of(inner)).boxed()
}

fn json() -> BoxedStrategy<Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        doubles().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
        proptest::collection::vec(Just(Json::Null), 0..3).prop_map(Json::from),
    ]
    .boxed()
}

fn plain() -> BoxedStrategy<Plain> {
    prop_oneof![
        Just(Plain::Unit),
        any::<Option<()>>().prop_map(Plain::Newtype),
        (singles(), nullable(of())).prop_map(|(a, b)| Plain::Tuple(a, b)),
        nullable(of()).prop_map(|a| Plain::Struct { a }),
    ]
    .boxed()
}

fn inner() -> BoxedStrategy<Inner> {
    let unit = proptest::option::of(Just(UnitStruct));
    let units = proptest::collection::vec(unit, 0..3);
    (nullable(of()), units, any::<char>(), nullable(plain()))
        .prop_map(|(nullable, units, letter, variant)| Inner {
            nullable,
            units,
            letter,
            variant,
        })
        .boxed()
}

fn buffered() -> BoxedStrategy<Shape> {
    let rest = proptest::collection::btree_map("r[a-z]{3}", nullable(doubles()), 0..3);
    let number = || nullable(of::<i32>());
    let untagged = prop_oneof![
        number().prop_map(|nullable| Untagged::Struct { nullable }),
        doubles().prop_map(|float| Untagged::Float { float }),
        any::<String>().prop_map(Untagged::Text),
        Just(Untagged::Unit),
    ];
    let internal = prop_oneof![
        Just(Internal::Unit),
        number().prop_map(|nullable| Internal::Struct { nullable }),
        inner().prop_map(Internal::Newtype),
    ];
    let adjacent = prop_oneof![
        Just(Adjacent::Unit),
        any::<Option<()>>().prop_map(Adjacent::Void),
        (number(), doubles()).prop_map(|(a, b)| Adjacent::Tuple(a, b)),
        number().prop_map(|nullable| Adjacent::Struct { nullable }),
    ];
    prop_oneof![
        (number(), inner(), rest).prop_map(|(own, inner, rest)| Shape::Flat(Flat {
            own,
            inner,
            rest
        })),
        proptest::option::of(untagged).prop_map(Shape::Untagged),
        internal.prop_map(Shape::Internal),
        proptest::option::of(adjacent).prop_map(Shape::Adjacent),
        nullable(json()).prop_map(Shape::Json),
    ]
    .boxed()
}

fn leaf() -> BoxedStrategy<Shape> {
    let units = || proptest::option::of(Just(UnitStruct));
    let hashed = proptest::collection::hash_map(any::<i64>(), nullable(of()), 0..2);
    let optional = proptest::collection::btree_map(any::<Option<String>>(), nullable(of()), 0..4);
    let tuples = proptest::collection::btree_map(
        any::<i8>().prop_map(|n| (n, UnitStruct)),
        any::<Option<()>>().prop_map(Newtype),
        0..4,
    );
    prop_oneof![
        Just(Shape::Unit),
        Just(Shape::EmptyTuple()),
        Just(Shape::EmptyStruct {}),
        nullable(of()).prop_map(Shape::Nullable),
        proptest::option::of(nullable(of::<()>())).prop_map(Shape::Nested),
        any::<Option<()>>().prop_map(Shape::Void),
        units().prop_map(|unit| Shape::UnitStruct(unit, UnitStruct)),
        any::<(bool, bool)>()
            .prop_map(|(a, b)| { Shape::Empty(a.then_some(Empty {}), b.then_some(EmptyTuple())) }),
        nullable(of::<()>())
            .prop_map(|value| { Shape::Newtype(value.map(|inner| Newtype(inner.map(Newtype)))) }),
        any::<(i8, u64, Option<i128>, u128)>().prop_map(|(a, b, c, d)| Shape::Numbers(a, b, c, d)),
        (singles(), nullable(doubles())).prop_map(|(a, b)| Shape::Floats(a, b)),
        (any::<char>(), nullable(of())).prop_map(|(a, b)| Shape::Text(a, b)),
        any::<Option<Vec<Option<()>>>>().prop_map(Shape::Voids),
        any::<[Option<()>; 2]>().prop_map(Shape::Array),
        hashed.prop_map(Shape::Hashed),
        optional.prop_map(Shape::OptionalKeys),
        tuples.prop_map(Shape::TupleKeys),
    ]
    .boxed()
}

fn shapes() -> BoxedStrategy<Shape> {
    prop_oneof![leaf(), buffered()]
        .prop_recursive(3, 24, 4, |shape| {
            let shape = shape.boxed();
            let keys = proptest::collection::btree_map(nullable(of()), shape.clone(), 0..3);
            let list = proptest::collection::vec(nullable(shape.clone()), 0..4);
            let json = proptest::option::of(json());
            prop_oneof![
                list.prop_map(Shape::List),
                keys.prop_map(Shape::Keys),
                (nullable(shape), nullable(of()), json).prop_map(|(a, b, c)| {
                    let a = a.map(|shape| shape.map(Box::new));
                    Shape::Record { a, b, c }
                }),
            ]
        })
        .boxed()
}

/// A value with every kind of `nil`.
type Nils = (
    Option<Option<i32>>,
    Vec<Option<()>>,
    Option<Json>,
    Option<u128>,
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn c13_every_shape_reads_back_as_it_was(shape in shapes()) {
        assert_kept(&shape);
    }

    #[test]
    fn s3_damaged_trees_never_panic(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let value: Nils = (Some(None), vec![Some(()), None], Some(Json::Null), Some(u128::MAX));
        let mut bytes = encoded(Encoding::MessagePack, &value).unwrap();
        assert_eq!(bytes[2], 3);
        let at = HEADER + at.index(bytes.len() - HEADER);
        bytes[at] = byte;
        let _ = decode::<Nils>(&bytes);
        let cut = HEADER + cut.index(bytes.len() - HEADER);
        let _ = rmp_serde::from_slice::<Node>(&bytes[HEADER..cut]);
    }
}

#[test]
fn c13_some_of_nothing_is_not_none() {
    assert_kept(&Some(None::<i32>));
    assert_kept(&Some(()));
    assert_kept(&Some(UnitStruct));
    assert_kept(&Some(Json::Null));
    assert_kept(&Some(Newtype(None::<Newtype<()>>)));
    assert_kept(&Some(Some(Some(None::<Option<()>>))));
    assert_kept(&vec![Some(None), Some(Some(1)), None]);
    assert_kept(&BTreeMap::from([(Some(()), 1), (None, 2)]));
}

#[test]
fn c13_what_json_has_no_word_for_is_kept() {
    assert_kept(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0]);
    assert_kept(&f32::NAN);
    assert_kept(&BTreeMap::from([((1, 2), 3)]));
    assert_kept(&BTreeMap::from([(None, 1), (Some("text".to_owned()), 2)]));
    // Digits that a fast but inexact parser gets wrong.
    assert_kept(&[
        0.3e-7,
        1.797_693_134_862_315_7e308,
        5e-324,
        9_007_199_254_740_993.0,
    ]);
}

#[test]
fn c13_ordinary_values_stay_in_their_plain_format() {
    let value = (
        Some(1),
        None::<i32>,
        "null",
        vec![Some(2.5), None],
        Some(Empty {}),
    );
    for (encoding, format) in ENCODINGS.into_iter().zip([1, 2]) {
        assert_eq!(encoded(encoding, &value).unwrap()[2], format);
    }
}

#[test]
fn c13_what_even_a_tree_cannot_keep_is_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Chain(Option<Box<Chain>>);

    let chain = |links| (0..links).fold(Chain(None), |chain, _| Chain(Some(Box::new(chain))));
    assert_kept(&chain(255));
    let error = encoded(Encoding::MessagePack, &chain(256)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    let nested = (0..100).fold(Json::Null, |json, _| Json::Array(vec![json]));
    assert!(encoded(Encoding::Json, &nested).is_ok());
    let error = encoded(Encoding::Json, &(Some(()), nested)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
}

#[test]
fn c6_what_an_older_build_stored_is_a_miss() {
    let mut bytes = encoded(Encoding::MessagePack, &None::<Option<i32>>).unwrap();
    assert_eq!(decode::<Option<Option<i32>>>(&bytes), Some(None));
    bytes[1] = 1;
    assert_eq!(decode::<Option<Option<i32>>>(&bytes), None);
}

#[test]
fn s1_an_error_names_the_type_and_not_what_it_said() {
    struct Secret;

    impl Serialize for Secret {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("s3cret"))
        }
    }

    for encoding in ENCODINGS {
        let error = encoded(encoding, &vec![Secret]).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("Secret"), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
        assert!(std::error::Error::source(&error).is_none());
    }
}
