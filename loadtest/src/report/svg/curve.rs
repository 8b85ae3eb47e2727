//! Latencies over their percentiles, with as much room for the slowest hundredth as for the slowest
//! tenth.

use std::fmt::Write as _;

use itertools::Itertools;
use maud::{Markup, html};

use super::picture::{Svg, WIDTH, series};
use super::scale::{LogScale, round};
use crate::report::groups::Group;
use crate::report::text::{float, label, time};
use crate::schema::{Latency, Run, SHOWN};

const HEIGHT: f64 = 230.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 24.0;

/// Draws one measurement on all apps and caches; nothing if no time was taken.
pub(crate) fn curves(group: &Group<'_>) -> Option<Markup> {
    let measured = group.runs.iter().filter(|run| run.latency_us.count > 0);
    let lines = measured.map(|run| (*run, points(&run.latency_us)));
    let lines: Vec<_> = lines.filter(|(_, points)| points.len() > 1).collect();
    let times = lines.iter().flat_map(|(_, points)| points);
    let times = times.map(|(_, us)| *us);
    let (lowest, highest) = times.minmax().into_option()?;

    let y = LogScale::new(float(lowest) * 0.9, float(highest) * 1.1, BOTTOM, TOP);
    let mut svg = Svg::new(HEIGHT);
    for tick in y.ticks() {
        let at = y.at(float(tick));
        svg.line((LEFT, at), (RIGHT, at), "rule");
        svg.text((LEFT - 6.0, at + 4.0), "end", "tick", &round(tick));
    }
    for (quantile, name) in SHOWN {
        let at = x(quantile);
        svg.line((at, TOP), (at, BOTTOM), "rule");
        let anchor = if name == "max" { "end" } else { "middle" };
        svg.text((at, BOTTOM + 17.0), anchor, "tick", name);
    }
    let mut words = String::new();
    for (run, points) in &lines {
        draw(&mut svg, run, points, &y);
        let Latency { p50, p99, max, .. } = run.latency_us;
        let [p50, p99, max] = [p50, p99, max].map(time);
        let name = label(&run.app, &run.cache);
        let _ = write!(
            words,
            "{name}: median {p50}, 99th percentile {p99}, maximum {max}. "
        );
    }
    let legend = html! {
        ul.legend {
            @for (run, _) in &lines { li { (sample(run)) (label(&run.app, &run.cache)) } }
        }
    };
    Some(svg.figure(&group.name, &words, &legend))
}

fn draw(svg: &mut Svg, run: &Run, points: &[(f64, u64)], y: &LogScale) {
    let point = |(at, us): &(f64, u64)| format!("{:.1} {:.1}", x(*at), y.at(float(*us)));
    let path = format!("M{}", points.iter().map(point).join("L"));
    let app = series(&run.app);
    svg.path(&path, &format!("curve {app} {}", dash(run)));
    // A mark tells the app to those who see no colours.
    for (quantile, us) in run.latency_us.figures() {
        // Of so few times, this is the maximum once more.
        let few = float(run.latency_us.count) * (1.0 - quantile) < 1.0;
        if few || (quantile - 0.9).abs() < 1e-9 {
            continue;
        }
        let at = (x(quantile), y.at(float(us)));
        svg.path(&shape(&run.app, at), &format!("fill {app}"));
    }
}

/// Returns the curve from left to right; the figures alone, if there is no more.
fn points(latency: &Latency) -> Vec<(f64, u64)> {
    let mut points: Vec<(f64, u64)> = latency.curve.clone();
    points.retain(|(quantile, _)| (0.0..=1.0).contains(quantile));
    if points.len() < 2 {
        points = latency.figures().to_vec();
    }
    points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    points
}

/// Places a quantile: a tenth as many are left with each step, and the maximum has its own place.
fn x(quantile: f64) -> f64 {
    const STEPS: f64 = 4.5;
    let steps = -(1.0 - quantile.max(0.0)).log10();
    let steps = if quantile >= 1.0 {
        STEPS
    } else {
        steps.min(STEPS - 0.3)
    };
    LEFT + steps / STEPS * (RIGHT - LEFT)
}

fn dash(run: &Run) -> &'static str {
    match run.cache.as_str() {
        "" | "-" | "memory" => "",
        _ => "dashed",
    }
}

fn shape(app: &str, (x, y): (f64, f64)) -> String {
    match app {
        "axum" => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", x - 4.0),
        "poem" => format!("M{:.1} {:.1}h7v7h-7z", x - 3.5, y - 3.5),
        "warp" => format!("M{x:.1} {:.1}l4.6 8h-9.2z", y - 5.0),
        "python" => format!("M{x:.1} {:.1}l-4.6 -8h9.2z", y + 5.0),
        "floor" => format!("M{:.1} {:.1}h10v3h-10z", x - 5.0, y - 1.5),
        _ => format!("M{x:.1} {:.1}l5 5l-5 5l-5 -5z", y - 5.0),
    }
}

fn sample(run: &Run) -> Markup {
    let app = series(&run.app);
    html! {
        svg width="34" height="12" aria-hidden="true" {
            path d="M0 6H34" class={"curve " (app) " " (dash(run))} {}
            path d=(shape(&run.app, (17.0, 6.0))) class={"fill " (app)} {}
        }
    }
}
