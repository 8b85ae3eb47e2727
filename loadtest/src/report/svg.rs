//! Charts, drawn by hand: each a picture as wide as a phone, which the page puts side by side where there is room.

mod bars;
mod curve;
mod fan_in;
mod histogram;
mod timeline;

pub(crate) use self::bars::bars;
pub(crate) use self::curve::curves;
pub(crate) use self::fan_in::fan_in;
pub(crate) use self::histogram::histogram;
pub(crate) use self::timeline::timeline;

use std::fmt::{self, Display, Write as _};

/// Of every picture, in its own units: a pixel each on a phone.
pub(crate) const WIDTH: f64 = 340.0;

/// Text that says nothing but itself inside HTML and SVG.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Neither HTML nor XML has them, and some hide or turn around the text after them.
                _ if character.is_control() && character != '\n' => f.write_char('·')?,
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('·')?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// The class by which the page gives an app its colour.
pub(crate) fn series(app: &str) -> &'static str {
    match app {
        "axum" => "s-axum",
        "poem" => "s-poem",
        "warp" => "s-warp",
        "floor" => "s-floor",
        "python" => "s-python",
        _ => "s-other",
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture that is being drawn.
pub(crate) struct Svg {
    height: f64,
    body: String,
}

impl Svg {
    pub(crate) fn new(height: f64) -> Self {
        Self {
            height,
            body: String::new(),
        }
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            Text(text)
        );
    }

    pub(crate) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        let _ = write!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    pub(crate) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
        let _ = write!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" class=\"{class}\"/>",
            width.max(0.0),
            height.max(0.0)
        );
    }

    pub(crate) fn circle(&mut self, (x, y): (f64, f64), radius: f64, class: &str) {
        let _ = write!(
            self.body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" class=\"{class}\"/>"
        );
    }

    pub(crate) fn path(&mut self, path: &str, class: &str) {
        let _ = write!(self.body, "<path d=\"{path}\" class=\"{class}\"/>");
    }

    /// Done: `description` says in words what is to be seen.
    pub(crate) fn figure(self, title: &str, description: &str) -> Figure {
        Figure {
            title: title.to_owned(),
            description: description.to_owned(),
            svg: self,
            below: String::new(),
        }
    }
}

/// A picture with its words.
pub(crate) struct Figure {
    title: String,
    description: String,
    svg: Svg,
    below: String,
}

impl Figure {
    /// Markup under the picture.
    pub(crate) fn with(mut self, below: String) -> Self {
        self.below = below;
        self
    }

    /// `id` is the figure's alone on its page.
    pub(crate) fn show(&self, id: &str) -> String {
        let Self {
            title,
            description,
            svg: Svg { height, body },
            below,
        } = self;
        let (title, description) = (Text(title), Text(description));
        format!(
            "<figure><figcaption>{title}</figcaption>\
             <svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-labelledby=\"{id}t {id}d\">\
             <title id=\"{id}t\">{title}</title><desc id=\"{id}d\">{description}</desc>{body}</svg>{below}</figure>\n"
        )
    }
}

/// Maps values to pixels, each ten times as far from the last.
pub(crate) struct LogScale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl LogScale {
    /// Of at least a factor of four, so that noise does not look like a mountain.
    pub(crate) fn new(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = (low.max(1.0).log10(), high.max(1.0).log10());
        let middle = f64::midpoint(low, high);
        let (low, high) = (low.min(middle - 0.3), high.max(middle + 0.3));
        Self {
            low,
            high,
            from,
            to,
        }
    }

    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = (value.max(1.0).log10() - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round numbers on it: 1, 2 and 5 of each power of ten, or only the powers where those are many.
    pub(crate) fn ticks(&self) -> Vec<u64> {
        let within = |tick: &u64| {
            let tick = super::text::float(*tick).log10();
            (self.low - 1e-9..=self.high + 1e-9).contains(&tick)
        };
        let steps: &[u64] = if self.high - self.low > 1.8 {
            &[1]
        } else {
            &[1, 2, 5]
        };
        (0..15)
            .flat_map(|power| steps.iter().map(move |step| step * 10_u64.pow(power)))
            .filter(within)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let text = "<script>&\"'\u{202e}\x1b";
        assert_eq!(Text(text).to_string(), "&lt;script&gt;&amp;&quot;&#39;··");
    }

    #[test]
    fn a_log_scale_has_its_ends_where_they_belong_and_ticks_between() {
        let scale = LogScale::new(100.0, 10_000.0, 200.0, 0.0);
        assert_eq!(scale.ticks(), [100, 1_000, 10_000]);
        for (value, expected) in [
            (0.0, 200.0),
            (100.0, 200.0),
            (1_000.0, 100.0),
            (10_000.0, 0.0),
            (f64::MAX, 0.0),
        ] {
            let at = scale.at(value);
            assert!((at - expected).abs() < 1e-9, "{value} at {at}");
        }
        let narrow = LogScale::new(150.0, 160.0, 0.0, 1.0);
        assert_eq!(narrow.ticks(), [100, 200]);
    }
}
