//! K2 to K5 for all values: rendered keys are decoded by a reader that shares no code with the
//! writer.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use cachify_core::{Key, KeyPart, KeyTemplate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const MAX_LEN: usize = 512;
const LONG: &str = "%#";

/// Characters that occur in escapes, separators, literals and broken UTF-8.
const ALPHABET: &[char] = &[
    '%', '{', '}', '#', 'x', '0', '2', '3', '5', '7', '9', 'A', 'B', 'C', 'D', 'b', 'd', '-', ':',
    ' ', '\0', '\n', '\x7f', 'é', 'à', '\u{80}', '日', '😀', 'e',
];

/// Literals around `literals.len() - 1` placeholders; all but the first and the last are not empty.
#[derive(Debug, Clone)]
struct Shape {
    literals: Vec<String>,
}

impl Shape {
    fn new(literals: &[&str]) -> Self {
        let literals = literals.iter().map(ToString::to_string).collect();
        Self { literals }
    }

    fn template(&self) -> KeyTemplate {
        let mut text = String::new();
        for (index, literal) in self.literals.iter().enumerate() {
            if index > 0 {
                text.push_str("{v}");
            }
            text.push_str(&literal.replace('{', "{{").replace('}', "}}"));
        }
        KeyTemplate::parse(&text).unwrap()
    }

    fn render(&self, values: &[Vec<u8>]) -> Key {
        let mut values = values.iter();
        let key = self
            .template()
            .render_with(|_| values.next().map(|value| value.as_slice().into()));
        key.unwrap()
    }

    /// Recovers the values from a key in its short form.
    fn decode(&self, key: &str) -> Vec<Vec<u8>> {
        let literals: Vec<_> = self.literals.iter().map(|text| in_key(text)).collect();
        let mut rest = key.strip_prefix(&*literals[0]).unwrap().as_bytes();
        let mut values = Vec::new();
        for (index, literal) in literals.iter().enumerate().skip(1) {
            let last = index + 1 == literals.len();
            let mut value = Vec::new();
            loop {
                let ended = if last {
                    rest == literal.as_bytes()
                } else {
                    rest.starts_with(literal.as_bytes())
                };
                match rest {
                    _ if ended => break,
                    [b'%', high, low, ..] => {
                        let digits = [*high, *low];
                        assert!(!digits.iter().any(u8::is_ascii_lowercase), "{key}");
                        let digits = str::from_utf8(&digits).unwrap();
                        value.push(u8::from_str_radix(digits, 16).unwrap());
                        rest = &rest[3..];
                    }
                    [byte, ..] => {
                        value.push(*byte);
                        rest = &rest[1..];
                    }
                    [] => panic!("{key:?} ends within {:?}", self.literals),
                }
            }
            rest = &rest[literal.len()..];
            values.push(value);
        }
        values
    }
}

fn in_key(literal: &str) -> String {
    let escape = |c: char| match c {
        '%' | '{' | '}' | '\x7f' => format!("%x{:02X}", c as u32),
        c if c < ' ' => format!("%x{:02X}", c as u32),
        c => c.to_string(),
    };
    literal.chars().map(escape).collect()
}

fn literal(min: usize) -> impl Strategy<Value = String> {
    vec(select(ALPHABET), min..4).prop_map(|chars| chars.into_iter().collect())
}

fn shape() -> impl Strategy<Value = Shape> {
    (literal(0), vec(literal(1), 0..3), literal(0)).prop_map(|(first, middle, last)| Shape {
        literals: [vec![first], middle, vec![last]].concat(),
    })
}

/// Text of the alphabet with some of its bytes removed.
fn value(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let char = (select(ALPHABET), any::<bool>()).prop_map(|(c, whole)| {
        let bytes = c.to_string().into_bytes();
        let kept = if whole { bytes.len() } else { 1 };
        bytes[..kept].to_vec()
    });
    vec(char, 0..max).prop_map(|chars| chars.concat())
}

fn shape_and_values(max: usize) -> impl Strategy<Value = (Shape, Vec<Vec<u8>>)> {
    shape().prop_flat_map(move |shape| {
        let count = shape.literals.len() - 1;
        (Just(shape), vec(value(max), count))
    })
}

/// Text without any escape, so that only the separator protects it.
fn plain_long() -> impl Strategy<Value = (Shape, Vec<Vec<u8>>)> {
    "[a-z0-9#.-]{513,600}".prop_map(|value| (Shape::new(&["k-", ""]), vec![value.into_bytes()]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn k2_values_can_be_read_back((shape, values) in shape_and_values(8)) {
        let key = shape.render(&values);
        if key.as_str() == "%empty" {
            prop_assert_eq!(values, vec![Vec::<u8>::new()]);
        } else {
            prop_assert_eq!(shape.decode(key.as_str()), values);
        }
    }

    #[test]
    fn k2_text_and_bytes_render_alike(
        shape in shape(),
        values in vec("\\PC{0,6}|[%{}x2-]{0,9}", 4),
    ) {
        let values = &values[..shape.literals.len() - 1];
        let parts: Vec<_> = values.iter().map(|value| value as &dyn KeyPart).collect();
        let bytes: Vec<_> = values.iter().map(|value| value.clone().into_bytes()).collect();
        prop_assert_eq!(shape.template().render(&parts), shape.render(&bytes));
    }

    #[test]
    fn k4_no_value_breaks_out_of_the_hash_tag((shape, values) in shape_and_values(80)) {
        let key = shape.render(&values);
        let text = key.as_str();
        prop_assert!(!text.is_empty());
        let broken = text.contains(|c: char| c.is_ascii_control() || c == '{' || c == '}');
        prop_assert!(!broken, "{:?}", text);
    }

    #[test]
    fn s3_no_text_and_no_value_panics(
        text in "\\PC*|[{}a.%-]{0,12}|(\\{[a-z.]{1,3}\\}.){0,4}",
        value in any::<Vec<u8>>(),
    ) {
        if let Ok(template) = KeyTemplate::parse(&text) {
            let key = template.render_with(|_| Some(value.as_slice().into())).unwrap();
            prop_assert!((1..=MAX_LEN).contains(&key.as_str().len()));
            prop_assert_eq!(key.template(), text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn k5_keys_are_bounded_and_long_ones_unforgeable(
        (shape, values) in prop_oneof![shape_and_values(800), plain_long()],
    ) {
        let key = shape.render(&values);
        let text = key.as_str();
        prop_assert!(text.len() <= MAX_LEN);
        let bytes = values.iter().map(Vec::len).sum::<usize>();
        if bytes <= MAX_LEN {
            return Ok(());
        }
        prop_assert!(text.contains(LONG));
        // Neither as a value nor as a literal does the long form reproduce itself.
        let whole = Shape::new(&["", ""]).render(&[text.as_bytes().to_vec()]);
        prop_assert_ne!(whole.as_str(), text);
        let literal = Shape::new(&[text]).render(&[]);
        prop_assert_ne!(literal.as_str(), text);
        for cut in (0..=text.len()).filter(|&cut| text.is_char_boundary(cut)) {
            let (start, end) = text.split_at(cut);
            let behind = Shape::new(&[start, ""]).render(&[end.as_bytes().to_vec()]);
            prop_assert_ne!(behind.as_str(), text);
            let before = Shape::new(&["", end]).render(&[start.as_bytes().to_vec()]);
            prop_assert_ne!(before.as_str(), text);
        }
    }
}

#[test]
fn k2_no_two_short_values_collide() {
    // Every pair of values of up to three characters, for separators that are easy to confuse.
    let separators = [
        ("-", ["-", "%", "2", "D"]),
        ("%", ["%", "2", "5", "x"]),
        ("%25", ["%", "2", "5", "x"]),
        ("2", ["%", "2", "5", "3"]),
        ("25", ["%", "2", "5", "3"]),
        ("{", ["{", "%", "7", "B"]),
        ("}", ["}", "%", "7", "D"]),
        ("x7B", ["{", "%", "x", "7"]),
        ("::", [":", "%", "3", "A"]),
        ("\0", ["\0", "%", "0", "x"]),
        ("é", ["é", "%", "C", "3"]),
        ("#", ["#", "%", "2", "3"]),
    ];
    for (separator, alphabet) in separators {
        let mut values = vec![String::new()];
        let mut longest = values.clone();
        for _ in 0..3 {
            let with = |text: &String| alphabet.map(|next| format!("{text}{next}"));
            longest = longest.iter().flat_map(with).collect();
            values.extend_from_slice(&longest);
        }
        let template = Shape::new(&["", separator, ""]).template();
        let mut seen = HashMap::new();
        for a in &values {
            for b in &values {
                if let Some(other) = seen.insert(template.render(&[a, b]), (a, b)) {
                    panic!("{:?} and {other:?} collide for {separator:?}", (a, b));
                }
            }
        }
    }
}

#[test]
fn k3_a_stored_name_tells_its_prefix_kind_and_key() {
    // The names that backends use; `shop:lock` tries to pass for a lock of `shop`.
    let mut names = HashMap::new();
    let template = Shape::new(&["", ""]).template();
    for prefix in [
        "shop",
        "shop:lock",
        "shop:cached",
        "shop:lock:cached",
        "cached",
    ] {
        for kind in ["cached", "lock", "pool"] {
            for value in ["a", "", "a}:lease", "{a", "}", "lock:{a}", ":cached:{a}"] {
                for suffix in ["", ":lease", ":queue"] {
                    let key = template.render(&[&value]);
                    let name = format!("{prefix}:{kind}:{{{}}}{suffix}", key.as_str());
                    // Redis hashes the part between the first `{` and the next `}`.
                    let tag = name.split_once('{').unwrap().1.split_once('}').unwrap().0;
                    assert_eq!(tag, key.as_str());
                    assert_ne!(tag, "", "an empty tag is no tag");
                    let parts = (prefix, kind, value, suffix);
                    assert_eq!(names.insert(name, parts), None, "{parts:?}");
                }
            }
        }
    }
}
