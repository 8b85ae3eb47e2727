//! Aligned columns, with or without colours.

use std::fmt::Write as _;
use std::io::IsTerminal;

use super::text::plain;

/// How far apart columns are.
const GAP: &str = "  ";

/// What a piece of text means; only a terminal shows it as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
}

/// Whether there are colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// On a terminal, unless `NO_COLOR` is set.
    pub(crate) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(std::io::stdout().is_terminal() && !unwanted && !dumb)
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Plain => "",
        };
        if self.0 && !code.is_empty() && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

pub(crate) type Cell = (Tone, String);

enum Line {
    Cells(Vec<Cell>),
    /// Takes no part in the alignment.
    Free(Tone, String),
}

/// Lines of cells; of their columns the first few are aligned to the left, the others to the right.
pub(crate) struct Columns {
    left: usize,
    lines: Vec<Line>,
}

impl Columns {
    pub(crate) fn new(left: usize, header: &[&str]) -> Self {
        let mut columns = Self {
            left,
            lines: Vec::new(),
        };
        columns.row(header.iter().map(|&name| (Tone::Dim, name.to_owned())));
        columns
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells = cells.into_iter();
        let cells = cells.map(|(tone, text)| (tone, plain(&text)));
        self.lines.push(Line::Cells(cells.collect()));
    }

    pub(crate) fn line(&mut self, tone: Tone, text: &str) {
        self.lines.push(Line::Free(tone, plain(text)));
    }

    /// Leaves out columns, the first of `spare` first, until the lines fit into `width`.
    pub(crate) fn show(&self, paint: Paint, width: usize, spare: &[usize]) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for line in &self.lines {
            let Line::Cells(cells) = line else { continue };
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, (_, text)) in widths.iter_mut().zip(cells) {
                *width = text.chars().count().max(*width);
            }
        }
        let mut out: Vec<usize> = Vec::new();
        let room = |out: &[usize]| -> usize {
            let kept = widths
                .iter()
                .enumerate()
                .filter(|(at, _)| !out.contains(at));
            kept.map(|(_, width)| width + GAP.len()).sum::<usize>()
        };
        for column in spare {
            if room(&out) <= width + GAP.len() {
                break;
            }
            out.push(*column);
        }
        let mut shown = String::new();
        for line in &self.lines {
            let mut written = String::new();
            match line {
                Line::Free(tone, text) => written.push_str(&paint.paint(*tone, text)),
                Line::Cells(cells) => {
                    for (index, ((tone, text), width)) in cells.iter().zip(&widths).enumerate() {
                        if out.contains(&index) {
                            continue;
                        }
                        let gap = if index == 0 { "" } else { GAP };
                        let space = " ".repeat(width - text.chars().count());
                        let text = paint.paint(*tone, text);
                        let _ = if index < self.left {
                            write!(written, "{gap}{text}{space}")
                        } else {
                            write!(written, "{gap}{space}{text}")
                        };
                    }
                }
            }
            shown.push_str(written.trim_end());
            shown.push('\n');
        }
        shown
    }
}

/// The most characters of a line: 100, or as many as the terminal has.
pub(crate) fn width() -> usize {
    const MOST: usize = 100;
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 {
        MOST
    } else {
        columns.clamp(40, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_has_fewer_columns() {
        let mut columns = Columns::new(1, &["name", "p50", "p90", "max"]);
        columns.row(["a", "1", "2", "3"].map(|text| (Tone::Plain, text.to_owned())));
        let text = "name  p50  max\na       1    3\n";
        assert_eq!(columns.show(Paint(false), 18, &[2, 1]), text);
        let text = "name  max\na       3\n";
        assert_eq!(columns.show(Paint(false), 12, &[2, 1]), text);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut columns = Columns::new(1, &["name", "µs"]);
        columns.line(Tone::Bold, "a title as long as it likes");
        columns.row([(Tone::Good, "✓ a".into()), (Tone::Plain, "1,000".into())]);
        let text = "name     µs\na title as long as it likes\n✓ a   1,000\n";
        assert_eq!(columns.show(Paint(false), 100, &[]), text);
        let coloured = columns.show(Paint(true), 100, &[]);
        assert!(
            coloured.contains("\x1b[32m✓ a\x1b[0m   1,000"),
            "{coloured}"
        );
    }
}
