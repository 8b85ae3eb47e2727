//! Aligned columns, with or without colours.

use std::fmt::Write as _;

use console::{Alignment, Style, Term, measure_text_width, pad_str};

use super::text::plain;

const GAP: &str = "  ";

/// The meaning of a piece of text; only a terminal shows it as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
}

impl Tone {
    pub(crate) fn of(kept: bool) -> Self {
        if kept { Self::Good } else { Self::Bad }
    }
}

/// The switch for colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// Turns colours on where standard output is a terminal that has them, unless `NO_COLOR` is
    /// set.
    pub(crate) fn of_stdout() -> Self {
        Self(Term::stdout().features().colors_supported())
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Bold => Style::new().bold(),
            Tone::Dim => Style::new().dim(),
            Tone::Good => Style::new().green(),
            Tone::Bad => Style::new().red().bold(),
        };
        style.force_styling(self.0).apply_to(text).to_string()
    }
}

pub(crate) type Cell = (Tone, String);

enum Line {
    Cells(Vec<String>),
    /// Takes no part in the alignment.
    Free(String),
}

/// Lines of cells; the first `left` columns are aligned to the left, the others to the right.
pub(crate) struct Columns {
    paint: Paint,
    left: usize,
    lines: Vec<Line>,
}

impl Columns {
    pub(crate) fn new(paint: Paint, left: usize, header: &[&str]) -> Self {
        let lines = Vec::new();
        let mut columns = Self { paint, left, lines };
        columns.row(header.iter().map(|&name| (Tone::Dim, name.to_owned())));
        columns
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells = cells.into_iter();
        let cells = cells.map(|(tone, text)| self.paint.paint(tone, &plain(&text)));
        self.lines.push(Line::Cells(cells.collect()));
    }

    pub(crate) fn line(&mut self, tone: Tone, text: &str) {
        self.lines
            .push(Line::Free(self.paint.paint(tone, &plain(text))));
    }

    /// Leaves out columns, the first of `spare` first, until the lines fit into `width`.
    pub(crate) fn show(&self, width: usize, spare: &[usize]) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for line in &self.lines {
            let Line::Cells(cells) = line else { continue };
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, text) in widths.iter_mut().zip(cells) {
                *width = measure_text_width(text).max(*width);
            }
        }
        for column in spare {
            let shown = widths.iter().filter(|width| **width > 0);
            if shown.map(|width| width + GAP.len()).sum::<usize>() <= width + GAP.len() {
                break;
            }
            widths[*column] = 0;
        }
        let mut shown = String::new();
        for line in &self.lines {
            let line = match line {
                Line::Free(text) => text.clone(),
                Line::Cells(cells) => {
                    let cells = cells.iter().zip(&widths).enumerate();
                    let cells = cells.filter(|(_, (_, width))| **width > 0);
                    let cells = cells.map(|(index, (text, width))| {
                        let left = index < self.left;
                        let side = if left {
                            Alignment::Left
                        } else {
                            Alignment::Right
                        };
                        pad_str(text, *width, side, None)
                    });
                    cells.collect::<Vec<_>>().join(GAP)
                }
            };
            let _ = writeln!(shown, "{}", line.trim_end());
        }
        shown
    }
}

/// Returns the most characters of a line: 100, or as many as the terminal has.
pub(crate) fn width() -> usize {
    const MOST: usize = 100;
    let size = Term::stdout().size_checked();
    size.map_or(MOST, |(_, columns)| usize::from(columns).clamp(40, MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_has_fewer_columns() {
        let mut columns = Columns::new(Paint(false), 1, &["name", "p50", "p90", "max"]);
        columns.row(["a", "1", "2", "3"].map(|text| (Tone::Plain, text.to_owned())));
        let text = "name  p50  max\na       1    3\n";
        assert_eq!(columns.show(18, &[2, 1]), text);
        let text = "name  max\na       3\n";
        assert_eq!(columns.show(12, &[2, 1]), text);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let shown = |paint| {
            let mut columns = Columns::new(paint, 1, &["name", "µs"]);
            columns.line(Tone::Bold, "a title as long as it likes");
            columns.row([(Tone::Good, "✓ a".into()), (Tone::Plain, "1,000".into())]);
            columns.show(100, &[])
        };
        let text = "name     µs\na title as long as it likes\n✓ a   1,000\n";
        assert_eq!(shown(Paint(false)), text);
        let coloured = shown(Paint(true));
        assert!(
            coloured.contains("\x1b[32m✓ a\x1b[0m   1,000"),
            "{coloured}"
        );
    }
}
