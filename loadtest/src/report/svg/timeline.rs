//! The holders of the contended lock over time: a lane for each client, and one for the lock.

use std::collections::BTreeMap;

use maud::Markup;

use super::picture::{Svg, WIDTH};
use crate::report::text::{count, float, many, time};
use crate::schema::{Hold, Run};

/// The place where lanes begin.
const LEFT: f64 = 50.0;
const LOCK: f64 = 14.0;
const GAP: f64 = 8.0;
/// The height of all lanes together.
const LANES: f64 = 168.0;

/// Draws the holds; nothing if there are none.
pub(crate) fn timeline(run: &Run) -> Option<Markup> {
    let mut holds: Vec<&Hold> = run.holds.iter().flatten().collect();
    holds.retain(|hold| hold.to_us >= hold.from_us);
    holds.sort_by_key(|hold| hold.from_us);
    let start = holds.first()?.from_us;
    let span = (holds.iter().map(|hold| hold.to_us).max()? - start).max(1);

    // In the order in which they first got it: where all wait in one line, the picture is a
    // staircase.
    let mut lanes: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for hold in &holds {
        let next = lanes.len();
        lanes.entry(hold.who).or_insert((next, 0)).1 += 1;
    }
    let clients = lanes.len();
    let lane = (LANES / float(clients as u64)).clamp(0.5, 14.0);
    let below = LOCK + GAP + lane * float(clients as u64);
    let mut svg = Svg::new(below + 22.0);
    let x = |us: u64| LEFT + float(us - start) / float(span) * (WIDTH - LEFT);

    svg.text((LEFT - 6.0, LOCK - 3.0), "end", "tick", "lock");
    svg.text((LEFT - 6.0, LOCK + GAP + 10.0), "end", "tick", "clients");
    svg.rect((LEFT, 0.0), (WIDTH - LEFT, LOCK), "track");
    let size = (WIDTH - LEFT, below - LOCK - GAP);
    svg.rect((LEFT, LOCK + GAP), size, "track");
    let (mut busy, mut together, mut free_at) = (0, 0, start);
    for hold in &holds {
        let row = lanes.get(&hold.who).map_or(0, |(row, _)| *row);
        let top = LOCK + GAP + lane * float(row as u64);
        let overlap = hold.from_us < free_at;
        // What must not be is never too thin to be seen.
        let (class, least) = if overlap {
            ("overlap", 3.0)
        } else {
            ("held", 0.7)
        };
        let width = (x(hold.to_us) - x(hold.from_us)).max(least);
        svg.rect((x(hold.from_us), 0.0), (width, LOCK), class);
        svg.rect((x(hold.from_us), top), (width, lane.max(1.0)), class);
        together += u64::from(overlap);
        busy += hold.to_us.saturating_sub(hold.from_us.max(free_at));
        free_at = free_at.max(hold.to_us);
    }
    svg.text((LEFT, below + 16.0), "start", "tick", "0");
    svg.text((WIDTH, below + 16.0), "end", "tick", &time(span));

    let turns = || lanes.values().map(|(_, turns)| *turns);
    let (fewest, most) = (turns().min()?, turns().max()?);
    let (holds, clients) = (many(holds.len(), "hold"), many(clients, "client"));
    let together = match together {
        0 => "never two at the same time".to_owned(),
        together => format!("{} began while another was held", count(together)),
    };
    let turns = if fewest == most {
        format!("{} each", many(most, "turn"))
    } else {
        format!("{fewest} to {most} turns each")
    };
    let (share, span) = (100.0 * float(busy) / float(span), time(span));
    let words = format!(
        "{holds} by {clients} in {span}; {together}; held {share:.0} % of the time; {turns}"
    );
    Some(svg.with_note(&run.title(), &words))
}
