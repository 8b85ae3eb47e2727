//! Numbers and times as people read them.

use std::time::{Duration, UNIX_EPOCH};

use console::truncate_str;
use indicatif::{HumanCount, HumanFloatCount};

/// The last second whose year has four digits.
const LAST: u64 = 253_402_300_799;

#[expect(clippy::cast_precision_loss, reason = "charts and ratios need no more")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// Writes `870 µs`, `1.25 ms`, `12.5 ms`, `3.10 s`.
pub(crate) fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", three_digits(float(us) / 1e3)),
        _ => format!("{} s", three_digits(float(us) / 1e6)),
    }
}

fn three_digits(number: f64) -> String {
    // What rounds up to ten, or a hundred, has a digit less behind the point.
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// Writes `7.5`, `213`, `48,213`.
pub(crate) fn rate(number: f64) -> String {
    if number < 99.95 {
        return format!("{number:.1}");
    }
    HumanFloatCount(number.round()).to_string()
}

/// Writes `48,213`.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Writes `1 run`, `2 runs`, `1,000 processes`.
pub(crate) fn many(number: usize, noun: &str) -> String {
    let plural = match (number, noun.ends_with('s')) {
        (1, _) => "",
        (_, false) => "s",
        (_, true) => "es",
    };
    format!("{} {noun}{plural}", count(number as u64))
}

/// Writes `±4 %`; nothing if it is not known.
pub(crate) fn spread(spread: Option<f64>) -> String {
    match spread {
        Some(spread) if spread > 0.0 && spread < 0.01 => "±<1 %".to_owned(),
        Some(spread) => format!("±{:.0} %", 100.0 * spread),
        None => String::new(),
    }
}

/// Writes `+4.2 %`, `-12 %`.
pub(crate) fn change(ratio: f64) -> String {
    let percent = 100.0 * ratio;
    if percent.abs() < 9.95 {
        format!("{percent:+.1} %")
    } else {
        format!("{percent:+.0} %")
    }
}

/// Writes `2026-11-25 13:11 UTC`.
pub(crate) fn date(seconds: u64) -> String {
    let date = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST));
    let text = humantime::format_rfc3339_seconds(date).to_string();
    let (minutes, _) = text.split_at(text.len().min(16));
    format!("{} UTC", minutes.replace('T', " "))
}

/// Names a run among others of its group: `axum, redis`.
pub(crate) fn label(app: &str, cache: &str) -> String {
    match cache {
        // A floor has none.
        "" | "-" => cut(app, 28),
        cache => cut(&format!("{app}, {cache}"), 28),
    }
}

/// Cuts a text after `width` characters, the last one an ellipsis.
pub(crate) fn cut(text: &str, width: usize) -> String {
    truncate_str(text, width, "…").into_owned()
}

/// Replaces what would move a cursor, change colours or turn text around: a report may come from
/// anywhere.
pub(crate) fn plain(text: &str) -> String {
    let turns = |letter| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(|letter: char| letter.is_control() || turns(letter), "·")
}

/// Breaks lines after at most `width` characters where words allow it; all but the first are
/// indented.
pub(crate) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let options = textwrap::Options::new(width).subsequent_indent(indent);
    textwrap::fill(&plain(text), options.break_words(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_people_read() {
        let times = [0, 999, 1_000, 9_999, 99_960, 999_999, 1_000_000, 61_000_000];
        let expected = [
            "0 µs", "999 µs", "1.00 ms", "10.0 ms", "100 ms", "1000 ms", "1.00 s", "61.0 s",
        ];
        assert_eq!(times.map(time), expected);
        assert_eq!([7.46, 99.99, 48_213.4].map(rate), ["7.5", "100", "48,213"]);
        assert_eq!([12, 123, 1_234_567].map(count), ["12", "123", "1,234,567"]);
        assert_eq!(spread(Some(0.041)), "±4 %");
        assert_eq!([0.042, -0.123].map(change), ["+4.2 %", "-12 %"]);
    }

    #[test]
    fn dates_of_any_second_are_told() {
        assert_eq!(date(1_764_076_270), "2025-11-25 13:11 UTC");
        assert_eq!(date(u64::MAX), "9999-12-31 23:59 UTC");
    }

    #[test]
    fn lines_are_no_longer_than_asked_for() {
        assert_eq!(wrap("aa bb cc dd", 5, "  "), "aa bb\n  cc\n  dd");
        assert_eq!(wrap("  aa  bb cc", 8, "  "), "  aa  bb\n  cc");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(plain("a\x1b[31mb\n\u{202e}"), "a·[31mb··");
    }
}
