//! Times, such as `250ms` and `5m`.

/// The reason why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeError {
    /// The text begins with a minus sign.
    Negative,
    /// The text is not a whole number and one of the units `ms`, `s`, `m`, `h` and `d`.
    Malformed,
    /// The time has more milliseconds than a `u64` can count.
    TooLong,
}

/// Parses a whole number with a unit, and returns the time in milliseconds.
///
/// # Errors
///
/// Returns the reason if `text` is not a time. The caller words the message, since source code and
/// settings need different advice.
///
/// # Examples
///
/// ```
/// use cachify_syntax::time::{TimeError, millis};
///
/// assert_eq!(millis("250ms"), Ok(250));
/// assert_eq!(millis("5m"), Ok(300_000));
/// assert_eq!(millis("5 minutes"), Err(TimeError::Malformed));
/// ```
pub fn millis(text: &str) -> Result<u64, TimeError> {
    if text.starts_with('-') {
        return Err(TimeError::Negative);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(TimeError::Malformed),
    };
    if number.is_empty() {
        return Err(TimeError::Malformed);
    }
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or(TimeError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::{TimeError, millis};

    #[test]
    fn a_time_is_a_whole_number_and_a_unit() {
        for (text, expected) in [
            ("250ms", 250),
            ("5s", 5000),
            ("5 m", 300_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("0ms", 0),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        use TimeError::{Malformed, Negative, TooLong};

        for (text, expected) in [
            ("", Malformed),
            ("5", Malformed),
            ("m", Malformed),
            ("5 minutes", Malformed),
            ("1.5s", Malformed),
            ("+1s", Malformed),
            (" 5m", Malformed),
            ("5m ", Malformed),
            ("5M", Malformed),
            ("\u{661}s", Malformed),
            ("never", Malformed),
            ("-1s", Negative),
            ("18446744073709551616ms", TooLong),
            ("18446744073709551615s", TooLong),
        ] {
            assert_eq!(millis(text), Err(expected), "{text:?}");
        }
    }
}
