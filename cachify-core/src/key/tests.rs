#![allow(clippy::unwrap_used)]

use super::render::{LONG_SEPARATOR, MAX_LEN, START_LEN};
use super::*;
use crate::ErrorKind;

fn template(text: &str) -> KeyTemplate {
    KeyTemplate::parse(text).unwrap()
}

fn render(text: &str, parts: &[&dyn KeyPart]) -> String {
    template(text).render(parts).as_str().to_owned()
}

fn render_bytes(text: &str, values: &[&[u8]]) -> String {
    let mut values = values.iter();
    let key = template(text).render_with(|_| values.next().map(|&value| value.into()));
    key.unwrap().as_str().to_owned()
}

#[test]
fn k1_a_mistake_is_an_error_that_quotes_the_template() {
    let error = KeyTemplate::parse("user-{id").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Template);
    let message = error.to_string();
    assert!(message.contains("`user-{id`"), "{message}");
    assert!(message.contains("not closed"), "{message}");
    assert!(message.contains("(at byte 5)"), "{message}");
}

#[test]
fn k1_a_template_keeps_its_text_and_names() {
    let text = "{a}-{b.c}-{{}}";
    assert_eq!(template(text).as_str(), text);
    assert_eq!(
        template(text).placeholders().collect::<Vec<_>>(),
        ["a", "b.c"]
    );
}

#[test]
fn k2_ids_read_as_themselves() {
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    assert_eq!(render("user-{id}", &[&7]), "user-7");
    assert_eq!(render("{a}-{b}", &[&7, &-8]), "7--8");
    assert_eq!(render("user-{id}", &[&uuid]), format!("user-{uuid}"));
    assert_eq!(
        render("{id}/{t}", &[&uuid, &"a/b c"]),
        format!("{uuid}/a/b c")
    );
    assert_eq!(render("{name}", &[&"Zoë 日本"]), "Zoë 日本");
}

#[test]
fn py12_keys_are_escaped() {
    assert_eq!(render("{a}-{b}", &[&"1-2", &"3"]), "1%2D2-3");
    assert_eq!(render("{a}-{b}", &[&"1", &"2-3"]), "1-2-3");
}

#[test]
fn k2_only_what_is_ambiguous_is_escaped() {
    assert_eq!(render("{a}::{b}", &[&"x:y", &"x:y"]), "x%3Ay::x:y");
    assert_eq!(render("{a}", &[&"100%\n\x7f{}"]), "100%25%0A%7F%7B%7D");
    assert_eq!(render("{a}é", &[&"é à"]), "%C3%A9 àé");
    assert_eq!(
        render_bytes("{a}é", &[b"\xc3\xa9\xc3\xa0\xc3"]),
        "%C3%A9à%C3é"
    );
    assert_eq!(render_bytes("{a}", &[b"\xff\0a"]), "%FF%00a");
}

#[test]
fn k2_literals_that_look_like_escapes() {
    for (text, one, other) in [
        ("{a}%{b}", ["%", ""], ["", "%"]),
        ("{a}%25{b}", ["%25", ""], ["", "%25"]),
        ("{a}2{b}", ["%", "5"], ["%2", "5"]),
        ("{a}{{{b}", ["{", ""], ["", "{"]),
        ("{a}x7B{b}", ["{", ""], ["", "{"]),
        ("{a}\0{b}", ["\0", ""], ["", "\0"]),
    ] {
        let keys = [one, other].map(|[a, b]| render(text, &[&a, &b]));
        assert_ne!(keys[0], keys[1], "{text:?}");
    }
}

#[test]
fn k2_a_value_written_in_pieces_is_the_same_value() {
    assert_eq!(
        render("{a}-{b}", &[&format_args!("{}-{:>3}", 1, 2), &true]),
        render("{a}-{b}", &[&"1-  2", &"true"])
    );
}

#[test]
fn k4_every_key_has_the_form_of_a_key() {
    // Only ASCII control characters are escaped; others reach messages unchanged.
    for value in ["\u{83}", "\u{7f}", "\n", "}", "\u{2028}", "a b", ""] {
        let key = KeyTemplate::parse("row-{a}").unwrap().render(&[&value]);
        assert!(Key::is_text(key.as_str()), "{:?}", key.as_str());
    }
}

#[test]
fn k4_a_key_has_no_braces_and_is_never_empty() {
    assert_eq!(render("{{{a}}}", &[&"}{"]), "%x7B%7D%7B%x7D");
    assert_eq!(render("{{}}", &[]), "%x7B%x7D");
    assert_eq!(render("{a}", &[&""]), "%empty");
    assert_ne!(render("{a}", &[&"%empty"]), "%empty");
}

#[test]
fn k5_a_long_key_is_a_start_and_a_hash() {
    let fits = "x".repeat(MAX_LEN - 2);
    assert_eq!(render("k-{a}", &[&fits]), format!("k-{fits}"));

    let [one, other] = ["y", "z"].map(|end| render("k-{a}", &[&format!("{fits}{end}")]));
    let (start, hash) = one.split_once(LONG_SEPARATOR).unwrap();
    assert_eq!(start, format!("k-{}", "x".repeat(START_LEN - 2)));
    assert_eq!(hash.len(), 64);
    assert!(hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    assert_ne!(one, other);
    assert_eq!(other.split_once(LONG_SEPARATOR).unwrap().0, start);
}

#[test]
fn k5_the_hash_is_that_of_the_whole_key() {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;

    // One value crosses the limit, the other begins far past it.
    let values = ["é".repeat(300), "%".repeat(2000)];
    let key = render("k-{a}-{b}", &[&values[0], &values[1]]);
    let whole = format!("k-{}-{}", values[0], "%25".repeat(2000));
    let hash = Sha256::digest(whole.as_bytes());
    let hash = hash.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    let start = format!("k-{}", "é".repeat((START_LEN - 2) / 2));
    assert_eq!(key, format!("{start}%#{hash}"));
}

#[test]
fn k5_the_start_ends_with_a_whole_character() {
    for shift in 0..4 {
        let value = format!("{}{}", "x".repeat(shift), "😀".repeat(200));
        let key = render("{a}", &[&value]);
        let (start, _) = key.split_once(LONG_SEPARATOR).unwrap();
        assert!(value.starts_with(start));
        assert!(START_LEN - start.len() < 4);
    }
}

#[test]
fn k5_s27_a_value_cannot_forge_the_long_form() {
    let long = render("k-{a}", &[&"x".repeat(MAX_LEN)]);
    let forged = long.strip_prefix("k-").unwrap();
    assert_ne!(render("k-{a}", &[&forged]), long);
    // Not even if the cut goes through an escape, or a literal helps.
    for text in [
        long.clone(),
        format!("{long}{{a}}"),
        format!("%#{}", &long[2..]),
    ] {
        let values: &[&dyn KeyPart] = if text.ends_with("{a}") { &[&""] } else { &[] };
        assert_ne!(render(&text, values), long);
    }
    for shift in 0..3 {
        let value = format!("{}{}", "x".repeat(shift), "%".repeat(MAX_LEN));
        let long = render("{a}", &[&value]);
        assert_ne!(render("{a}", &[&long]), long);
        assert_ne!(render(&long, &[]), long);
    }
}

#[test]
fn k5_a_long_literal_is_bounded_too() {
    let text = "x".repeat(MAX_LEN + 1);
    assert!(render(&text, &[]).contains(LONG_SEPARATOR));
    assert_eq!(render(&text[1..], &[]), text[1..]);
}

#[test]
fn s1_debug_shows_no_values() {
    let key = template("token-{secret}").render(&[&"hunter2"]);
    assert_eq!(format!("{key:?}"), r#"Key("token-{secret}")"#);
    assert_eq!(key.template(), "token-{secret}");
}

#[test]
fn a_placeholder_without_a_value_is_named() {
    let error = template("list-{query.page}")
        .render_with(|_| None)
        .unwrap_err();
    assert_eq!(error.name(), "query.page");
    assert_eq!(error.template(), "list-{query.page}");
    assert!(error.to_string().contains("`{query.page}`"));
}

#[test]
#[should_panic(expected = "has 1 placeholders, but was given 2 values")]
fn a_wrong_number_of_values_is_refused() {
    render("user-{id}", &[&1, &2]);
}
