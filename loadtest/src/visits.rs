//! Visits to the lab, by one clock: when each was asked for, began and ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::app::App;
use crate::client::{Outcome, send};
use crate::fleet::Fleet;
use crate::lab::{Inside, now_us};
use crate::load::{Metered, clients};
use crate::meter::{evenness, histogram, latency, ratio};
use crate::schema::{Hold, Run};
use crate::stage::Stage;
use crate::turns::{Contender, measure};

/// The time that a visit takes.
pub(crate) const HOLD: Duration = Duration::from_millis(5);
/// Processes, where they can share a lock or a pool.
const INSTANCES: u16 = 2;
/// As many as make a picture.
const HOLDS: usize = 400;
const VISIT: &str = "visit";

/// Lets a crowd visit a route of the lab, and promises that all of them were let in. Facts:
/// `wait_p50_us`, `wait_p99_us`, `wait_max_us`; `max_over_median` of the waits; `evenness`, 1 if
/// all clients got as many turns.
pub(crate) async fn visit(
    stage: &Stage<'_>,
    what: &'static str,
    route: &str,
    all_let_in: &str,
) -> Result<(Run, Seen)> {
    let fleet = Fleet::start(stage, App::Lab, INSTANCES, HOLD, Duration::ZERO).await?;
    let urls = fleet.urls().into_iter();
    let visits = Arc::new(Visits {
        urls: urls.map(|url| format!("{url}/{route}")).collect(),
        all: Mutex::default(),
    });
    let mut contender = Contender::new(stage, App::Lab, &fleet, VISIT, Arc::clone(&visits).step());
    (contender.what, contender.users) = (what, stage.crowd());
    measure(stage.bench, &mut contender).await?;
    fleet.stop().await?;

    let seen = visits.seen();
    let waits = latency(vec![seen.waits()]);
    let mut run = contender.run();
    run.add_facts(json!({
        "wait_p50_us": waits.p50, "wait_p99_us": waits.p99, "wait_max_us": waits.max,
        "max_over_median": ratio(waits.max, waits.p50), "evenness": evenness(&seen.shares()),
    }));
    run.waits_us = Some(histogram(seen.waits()));
    run.promises.push(contender.nothing_failed(all_let_in));
    Ok((run, seen))
}

/// A route of the lab, and who visited it.
struct Visits {
    urls: Vec<String>,
    all: Mutex<Vec<Visit>>,
}

#[derive(Debug, Clone, Copy)]
struct Visit {
    who: usize,
    asked_us: u64,
    inside: Inside,
}

impl Visits {
    /// Visits again and again.
    fn step(self: Arc<Self>) -> Metered {
        clients(self, |visits, user| {
            Box::pin(async move {
                let url = &visits.urls[fastrand::usize(..visits.urls.len())];
                let (who, asked_us) = (user.weighted_users_index, now_us());
                let answer = send(user.client.get(url)).await;
                let inside = serde_json::from_slice(&answer.body);
                let (true, Ok(inside)) = (answer.is_ok(), inside) else {
                    return Outcome::Failed(answer);
                };
                visits.note(Visit {
                    who,
                    asked_us,
                    inside,
                });
                answer.counted(VISIT)
            })
        })
    }

    fn note(&self, visit: Visit) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(visit);
    }

    /// All of them, warm-ups included: promises are of those, too.
    fn seen(&self) -> Seen {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = all.clone();
        all.sort_unstable_by_key(|visit| visit.inside.from_us);
        Seen(all)
    }
}

/// Visits in the order in which they came in.
pub(crate) struct Seen(Vec<Visit>);

impl Seen {
    /// Returns how many were inside at the same time, at most.
    pub(crate) fn most_at_once(&self) -> u64 {
        // Who goes at the moment at which somebody comes is out first.
        let events = self
            .0
            .iter()
            .flat_map(|it| [(it.inside.to_us, -1), (it.inside.from_us, 1)]);
        let mut events: Vec<(u64, i64)> = events.collect();
        events.sort_unstable();
        let counts = events.iter().scan(0_i64, |now, (_, step)| {
            *now += step;
            Some(*now)
        });
        counts.max().unwrap_or_default().unsigned_abs()
    }

    /// Returns how long each waited.
    fn waits(&self) -> Vec<u64> {
        let wait = |it: &Visit| it.inside.from_us.saturating_sub(it.asked_us);
        self.0.iter().map(wait).collect()
    }

    /// Returns the times between two visits during which somebody waited and nobody was inside.
    pub(crate) fn idle(&self) -> Vec<u64> {
        let pairs = self
            .0
            .windows(2)
            .map(|pair| (pair[0].inside.to_us, pair[1]));
        let pairs = pairs.filter(|(left_us, next)| next.asked_us < *left_us);
        let idle = pairs.map(|(left_us, next)| next.inside.from_us.saturating_sub(left_us));
        idle.collect()
    }

    /// Of each visitor, how many visits.
    fn shares(&self) -> Vec<u64> {
        let mut shares = BTreeMap::<_, u64>::new();
        for visit in &self.0 {
            *shares.entry(visit.who).or_default() += 1;
        }
        shares.into_values().collect()
    }

    /// The last of the last round, from 0 on.
    pub(crate) fn holds(&self) -> Vec<Hold> {
        let all = &self.0;
        // Between two rounds nobody waits.
        let pause = all
            .windows(2)
            .rposition(|pair| pair[1].asked_us >= pair[0].inside.to_us);
        let round = &all[pause.map_or(0, |at| at + 1)..];
        let last = &round[round.len().saturating_sub(HOLDS)..];
        let begin = last.first().map_or(0, |visit| visit.inside.from_us);
        last.iter()
            .map(|visit| Hold {
                who: visit.who.try_into().unwrap_or(u32::MAX),
                from_us: visit.inside.from_us - begin,
                to_us: visit.inside.to_us - begin,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(visits: &[(usize, u64, u64, u64)]) -> Seen {
        let visit = |&(who, asked_us, from_us, to_us): &_| {
            let inside = Inside { from_us, to_us };
            Visit {
                who,
                asked_us,
                inside,
            }
        };
        Seen(visits.iter().map(visit).collect())
    }

    #[test]
    fn visits_one_after_the_other_do_not_overlap() {
        let seen = seen(&[(1, 90, 100, 200), (2, 95, 200, 300), (1, 290, 310, 400)]);
        assert_eq!(seen.most_at_once(), 1);
        assert_eq!(seen.idle(), [0, 10]);
        assert_eq!(seen.waits(), [10, 105, 20]);
        assert_eq!(seen.shares(), [2, 1]);
    }

    #[test]
    fn a_picture_is_of_the_last_round_alone() {
        let seen = seen(&[(1, 90, 100, 200), (1, 900, 950, 990), (2, 910, 991, 999)]);
        let holds = seen.holds();
        assert_eq!(holds.len(), 2);
        assert_eq!((holds[0].from_us, holds[1].to_us), (0, 49));
    }

    #[test]
    fn a_visit_within_another_is_seen() {
        let seen = seen(&[(1, 0, 100, 400), (2, 0, 200, 300)]);
        assert_eq!(seen.most_at_once(), 2);
    }
}
