//! Answers per second, a bar each.

use std::fmt::Write as _;

use maud::Markup;

use super::picture::{Svg, WIDTH, series};
use crate::report::groups::Group;
use crate::report::text::{label, rate, spread};
use crate::schema::Run;

/// The height of a bar with its line of text.
const ROW: f64 = 34.0;
const BAR: f64 = 11.0;

/// Draws one measurement on all apps and caches.
pub(crate) fn bars(group: &Group<'_>) -> Markup {
    let rows = f64::from(u16::try_from(group.runs.len()).unwrap_or(u16::MAX));
    let mut svg = Svg::new(rows * ROW + 2.0);
    // With room for the whisker of the longest one.
    let end = |run: &&Run| finite(run.per_second) * (1.0 + finite(run.spread.unwrap_or_default()));
    let most = group.runs.iter().map(end).fold(f64::MIN_POSITIVE, f64::max);
    let mut words = String::new();
    let mut top = 0.0;
    for run in &group.runs {
        let length = |value: f64| finite(value) / most * WIDTH;
        let name = label(&run.app, &run.cache);
        let value = format!("{} {}", rate(run.per_second), spread(run.spread));
        svg.text((0.0, top + 13.0), "start", "label", &name);
        svg.text((WIDTH, top + 13.0), "end", "value", value.trim());
        let y = top + 18.0;
        svg.rect((0.0, y), (WIDTH, BAR), "track");
        let class = format!("fill {}", series(&run.app));
        svg.rect((0.0, y), (length(run.per_second).max(1.0), BAR), &class);
        if let Some(spread) = run.spread.map(finite).filter(|spread| *spread > 0.0) {
            let middle = y + BAR / 2.0;
            let low = length(run.per_second * (1.0 - spread));
            let high = length(run.per_second * (1.0 + spread));
            svg.line((low, middle), (high, middle), "whisker");
            for x in [low, high] {
                svg.line((x, middle - 3.0), (x, middle + 3.0), "whisker");
            }
        }
        let _ = write!(words, "{name}: {} per second. ", value.trim());
        top += ROW;
    }
    svg.figure(&group.name, &words, &Markup::default())
}

fn finite(number: f64) -> f64 {
    if number.is_finite() {
        number.clamp(0.0, 1e12)
    } else {
        0.0
    }
}
