//! Many callers and few computations: callers of one cold key meet in their processes, and these in
//! the cache.

use maud::Markup;

use super::picture::{Svg, WIDTH};
use crate::report::text::{float, many};
use crate::schema::{FanIn, Run};

const HEIGHT: f64 = 176.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 34.0;
const CALLERS: f64 = 16.0;
const PROCESSES: f64 = 170.0;
const COMPUTATIONS: f64 = WIDTH - 24.0;
/// More than that could not be told apart.
const MOST: u64 = 48;

/// Draws a stampede; nothing without callers.
pub(crate) fn fan_in(run: &Run) -> Option<Markup> {
    let FanIn {
        callers,
        processes,
        computations,
        keys,
    } = *run.fan_in.as_ref()?;
    let (keys, processes) = (keys.max(1), processes.max(1));
    if callers == 0 {
        return None;
    }
    let drawn = (callers / keys).clamp(1, MOST);
    let nodes = processes.min(8);
    let ends = computations.div_ceil(keys).clamp(1, 8);
    let once = computations <= keys;
    let verdict = if once { "once" } else { "often" };

    let mut svg = Svg::new(HEIGHT);
    for caller in 0..drawn {
        let process = caller % nodes;
        let from = (CALLERS, place(caller, drawn));
        svg.path(&bend(from, (PROCESSES, place(process, nodes))), "thread");
    }
    for process in 0..nodes {
        let from = (PROCESSES, place(process, nodes));
        let to = (COMPUTATIONS, place(process % ends, ends));
        svg.path(&bend(from, to), &format!("thread thick {verdict}"));
    }
    for caller in 0..drawn {
        svg.circle((CALLERS, place(caller, drawn)), 2.2, "caller");
    }
    for process in 0..nodes {
        let y = place(process, nodes);
        svg.rect((PROCESSES - 9.0, y - 6.0), (18.0, 12.0), "process");
    }
    for end in 0..ends {
        let at = (COMPUTATIONS, place(end, ends));
        svg.circle(at, 11.0, &format!("computation {verdict}"));
    }
    for (x, anchor, number, noun) in [
        (0.0, "start", callers, "caller"),
        (PROCESSES, "middle", processes, "process"),
        (WIDTH, "end", computations, "computation"),
    ] {
        let counted = say(number, noun);
        let (number, noun) = counted.split_once(' ').unwrap_or_default();
        svg.text((x, HEIGHT - 16.0), anchor, "value", number);
        svg.text((x, HEIGHT - 3.0), anchor, "tick", noun);
    }
    let words = format!(
        "{} in {} asked for {}: {}{}",
        say(callers, "caller"),
        say(processes, "process"),
        say(keys, "cold key"),
        say(computations, "computation"),
        if once { "" } else { ", more than one a key" }
    );
    Some(svg.with_note(&run.title(), &format!("{words}. Drawn for one key.")))
}

fn say(number: u64, noun: &str) -> String {
    many(number.try_into().unwrap_or(usize::MAX), noun)
}

/// Places one among many, spread over the height.
fn place(index: u64, of: u64) -> f64 {
    TOP + (float(index) + 0.5) / float(of) * (BOTTOM - TOP)
}

fn bend((x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> String {
    let middle = f64::midpoint(x1, x2);
    format!("M{x1:.1} {y1:.1}C{middle:.1} {y1:.1} {middle:.1} {y2:.1} {x2:.1} {y2:.1}")
}
