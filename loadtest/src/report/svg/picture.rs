//! A picture in SVG, and the words that tell the same.

use maud::{Markup, PreEscaped, html};

/// The width of every picture in its own units: a pixel each on a phone.
pub(crate) const WIDTH: f64 = 340.0;

type Point = (f64, f64);

pub(crate) struct Svg {
    height: f64,
    body: String,
}

impl Svg {
    pub(crate) fn new(height: f64) -> Self {
        let body = String::new();
        Self { height, body }
    }

    fn push(&mut self, markup: &Markup) {
        self.body.push_str(&markup.0);
    }

    /// Writes a text that begins at `at`, or has its middle or end there.
    pub(crate) fn text(&mut self, (x, y): Point, anchor: &str, class: &str, text: &str) {
        self.push(&html! {
            text x=(px(x)) y=(px(y)) text-anchor=(anchor) class=(class) { (text) }
        });
    }

    pub(crate) fn line(&mut self, (x1, y1): Point, (x2, y2): Point, class: &str) {
        self.push(&html! { line x1=(px(x1)) y1=(px(y1)) x2=(px(x2)) y2=(px(y2)) class=(class) {} });
    }

    pub(crate) fn rect(&mut self, (x, y): Point, (width, height): Point, class: &str) {
        let (width, height) = (width.max(0.0), height.max(0.0));
        self.push(&html! {
            rect x=(px(x)) y=(px(y)) width=(px(width)) height=(px(height)) class=(class) {}
        });
    }

    pub(crate) fn circle(&mut self, (x, y): Point, radius: f64, class: &str) {
        self.push(&html! { circle cx=(px(x)) cy=(px(y)) r=(px(radius)) class=(class) {} });
    }

    pub(crate) fn path(&mut self, path: &str, class: &str) {
        self.push(&html! { path d=(path) class=(class) {} });
    }

    /// Ends the picture. `words` tell what is to be seen, `below` stands under it.
    pub(crate) fn figure(self, title: &str, words: &str, below: &Markup) -> Markup {
        let size = format!("0 0 {WIDTH} {:.0}", self.height);
        html! {
            figure {
                figcaption { (title) }
                svg viewBox=(size) role="img" aria-label={ (title) ": " (words) } {
                    (PreEscaped(self.body))
                }
                (below)
            }
        }
    }

    /// Ends a picture whose words are shown, too.
    pub(crate) fn with_note(self, title: &str, words: &str) -> Markup {
        self.figure(title, words, &html! { p.note { (words) } })
    }
}

fn px(length: f64) -> String {
    format!("{length:.1}")
}

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

pub(crate) fn state(kept: bool) -> &'static str {
    if kept { "good" } else { "bad" }
}
