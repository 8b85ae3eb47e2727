//! Aligned columns, with colours where standard output is a terminal that has them.

use console::{Alignment, Style, Term, measure_text_width, pad_str};
use itertools::Itertools;

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

    pub(crate) fn paint(self, text: &str) -> String {
        let style = match self {
            Self::Plain => Style::new(),
            Self::Bold => Style::new().bold(),
            Self::Dim => Style::new().dim(),
            Self::Good => Style::new().green(),
            Self::Bad => Style::new().red().bold(),
        };
        style.apply_to(text).to_string()
    }
}

pub(crate) type Cell = (Tone, String);

/// Lines of cells; the first `left` columns are aligned to the left, the others to the right. A
/// line of a single cell takes no part in that.
pub(crate) struct Columns {
    left: usize,
    lines: Vec<Vec<String>>,
}

impl Columns {
    pub(crate) fn new(left: usize, header: &[&str]) -> Self {
        let lines = Vec::new();
        let mut columns = Self { left, lines };
        columns.row(header.iter().map(|&name| (Tone::Dim, name.to_owned())));
        columns
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells = cells
            .into_iter()
            .map(|(tone, text)| tone.paint(&plain(&text)));
        self.lines.push(cells.collect());
    }

    /// Leaves out columns, the first of `spare` first, until the lines fit into `width`.
    pub(crate) fn show(&self, width: usize, spare: &[usize]) -> String {
        let mut widths = vec![0; self.lines[0].len()];
        for cells in self.lines.iter().filter(|cells| cells.len() > 1) {
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
        let padded = |(column, text): (usize, &String)| {
            let left = column < self.left;
            let side = if left {
                Alignment::Left
            } else {
                Alignment::Right
            };
            let width = widths[column];
            (width > 0).then(|| pad_str(text, width, side, None).into_owned())
        };
        let line = |cells: &Vec<String>| match &cells[..] {
            [line] => format!("{line}\n"),
            cells => {
                let line = cells.iter().enumerate().filter_map(padded).join(GAP);
                format!("{}\n", line.trim_end())
            }
        };
        self.lines.iter().map(line).collect()
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
        let mut columns = Columns::new(1, &["name", "p50", "p90", "max"]);
        columns.row([(Tone::Plain, "a title as long as it likes".into())]);
        columns.row(["a", "1", "2", "3"].map(|text| (Tone::Plain, text.to_owned())));
        let text = "name  p50  max\na title as long as it likes\na       1    3\n";
        assert_eq!(columns.show(18, &[2, 1]), text);
        let text = "name  max\na title as long as it likes\na       3\n";
        assert_eq!(columns.show(12, &[2, 1]), text);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut columns = Columns::new(1, &["name", "µs"]);
        columns
            .lines
            .push(vec!["\x1b[32m✓ a\x1b[0m".into(), "1,000".into()]);
        assert_eq!(
            columns.show(100, &[]),
            "name     µs\n\x1b[32m✓ a\x1b[0m   1,000\n"
        );
    }
}
