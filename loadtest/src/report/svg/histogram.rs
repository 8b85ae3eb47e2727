//! The times that were waited for the lock: a bar for each span of times.

use maud::Markup;

use super::picture::{Svg, WIDTH};
use crate::report::text::{count, float, time};
use crate::schema::{Bucket, Run};

const HEIGHT: f64 = 170.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = HEIGHT - 22.0;

/// Draws the waits; nothing if nobody waited.
pub(crate) fn histogram(run: &Run) -> Option<Markup> {
    let mut buckets: Vec<&Bucket> = run.waits_us.iter().flatten().collect();
    buckets.sort_by_key(|bucket| bucket.upto_us);
    let first = buckets.iter().position(|bucket| bucket.count > 0)?;
    let last = buckets.iter().rposition(|bucket| bucket.count > 0)?;
    let buckets = &buckets[first..=last];
    let most = buckets.iter().map(|bucket| bucket.count).max()?;
    let counts = buckets.iter().map(|bucket| bucket.count);
    let all = counts.fold(0, u64::saturating_add);

    let mut svg = Svg::new(HEIGHT);
    let step = WIDTH / float(buckets.len() as u64);
    // Of a few buckets, no bar is a wall.
    let width = (step - 1.5).clamp(0.5, 40.0);
    // Labels are as far apart as they are long.
    let every = usize::max(1, buckets.len().div_ceil(4));
    for (index, bucket) in buckets.iter().enumerate() {
        let left = step * float(index as u64) + (step - width) / 2.0;
        let height = float(bucket.count) / float(most) * (BOTTOM - TOP);
        let shown = if bucket.count > 0 {
            height.max(1.0)
        } else {
            0.0
        };
        svg.rect((left, BOTTOM - shown), (width, shown), "wait");
        if bucket.count == most {
            let middle = (left + width / 2.0).clamp(20.0, WIDTH - 20.0);
            let at = (middle, BOTTOM - height - 5.0);
            svg.text(at, "middle", "value", &count(bucket.count));
        }
        if index % every == every / 2 {
            let at = ((left + width / 2.0).clamp(32.0, WIDTH - 32.0), HEIGHT - 6.0);
            let text = format!("≤ {}", time(bucket.upto_us));
            svg.text(at, "middle", "tick", &text);
        }
    }
    svg.line((0.0, BOTTOM), (WIDTH, BOTTOM), "axis");

    let share = |part: f64| quantile(buckets, all, part).map_or_else(String::new, time);
    let words = format!(
        "{} waits; half of them at most {}, 99 % at most {}, all at most {}",
        count(all),
        share(0.5),
        share(0.99),
        share(1.0)
    );
    Some(svg.with_note(&run.title(), &words))
}

/// Returns the end of the span in which this part of all has come.
fn quantile(buckets: &[&Bucket], all: u64, part: f64) -> Option<u64> {
    let mut sum = 0.0;
    let found = buckets.iter().find(|bucket| {
        sum += float(bucket.count);
        sum >= part * float(all)
    });
    found.or(buckets.last()).map(|bucket| bucket.upto_us)
}
