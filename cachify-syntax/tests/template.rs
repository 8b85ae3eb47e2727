//! The grammar of key templates.
#![allow(clippy::unwrap_used)]

use cachify_syntax::template::parse;

#[test]
fn k1_mistakes_are_errors_with_their_position() {
    for (text, position, says) in [
        ("", 0, "empty"),
        ("user-{id", 5, "not closed"),
        ("user-{id-{other}", 5, "not closed"),
        ("user-{", 5, "not closed"),
        ("user-}", 5, "closes nothing"),
        ("user-{id}}", 9, "closes nothing"),
        ("user-{}", 6, "empty"),
        ("{a}{b}", 3, "nothing stands between `{b}`"),
        ("é-{a}{b}", 6, "nothing stands between"),
        ("{a.}", 3, "missing beside a dot"),
        ("{.a}", 1, "missing beside a dot"),
        ("{a..b}", 3, "missing beside a dot"),
        ("{0}", 1, "begins with a digit"),
        ("{id:>5}", 3, "takes no format"),
        ("{ id }", 1, "no spaces"),
        ("{user-id}", 5, "only behind a dot"),
        ("{a.b?}", 4, "cannot be in a name"),
        ("{a\0}", 2, "cannot be in a name"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.position(), position, "{text:?} gave {error}");
        let message = error.to_string();
        assert!(message.contains(says), "{text:?} gave {message:?}");
        let position = format!("(at byte {position})");
        assert!(message.ends_with(&position), "{text:?} gave {message:?}");
    }
}

#[test]
fn k1_templates_that_are_fine() {
    for (text, placeholders) in [
        ("total", &[][..]),
        ("{id}", &["id"]),
        ("read_user-{user_id}", &["user_id"]),
        ("{a}-{b.c}", &["a", "b.c"]),
        ("{a}{{{b}", &["a", "b"]),
        (
            "{header.accept-language} {query.0}",
            &["header.accept-language", "query.0"],
        ),
        ("{{}}", &[]),
        ("{größe}·{_x1}", &["größe", "_x1"]),
    ] {
        let template = parse(text).unwrap();
        let names = template.placeholders.iter();
        let names: Vec<_> = names.map(|each| &text[each.name.clone()]).collect();
        assert_eq!(names, placeholders, "{text:?}");
    }
}

#[test]
fn k2_literals_are_escaped_unlike_values() {
    let template = parse("{{%}}\n{id}{{").unwrap();
    assert_eq!(template.head, "%x7B%x25%x7D%x0A");
    assert_eq!(template.placeholders[0].then, "%x7B");
}
