//! Runs that belong together.

use indexmap::IndexMap;

use crate::schema::{Report, Run};

/// Runs with something in common, in the order in which they ran.
pub(crate) struct Group<'a> {
    pub(crate) name: String,
    pub(crate) runs: Vec<&'a Run>,
}

/// Groups runs by what was measured, each on every app and cache that there was.
pub(crate) fn measurements(report: &Report) -> Vec<Group<'_>> {
    groups(report, Run::name)
}

/// Groups runs by scenario.
pub(crate) fn scenarios(report: &Report) -> Vec<Group<'_>> {
    groups(report, |run| run.scenario.clone())
}

fn groups(report: &Report, name: impl Fn(&Run) -> String) -> Vec<Group<'_>> {
    let groups = grouped(report.runs.iter(), |run| name(run)).into_iter();
    groups.map(|(name, runs)| Group { name, runs }).collect()
}

/// Groups items by name, in the order in which names come first.
pub(crate) fn grouped<T>(
    items: impl Iterator<Item = T>,
    name: impl Fn(&T) -> String,
) -> IndexMap<String, Vec<T>> {
    let mut groups = IndexMap::<_, Vec<_>>::new();
    for item in items {
        groups.entry(name(&item)).or_default().push(item);
    }
    groups
}

/// Groups runs for charts: floors stand beside each measurement of their scenario.
pub(crate) fn charts(report: &Report) -> Vec<Group<'_>> {
    let is_floor = |group: &Group<'_>| group.runs.iter().all(|run| run.app == "floor");
    let (floors, mut charts): (Vec<_>, Vec<_>) =
        measurements(report).into_iter().partition(is_floor);
    for floor in floors {
        let scenario = &floor.runs[0].scenario;
        let beside = |group: &&mut Group<'_>| &group.runs[0].scenario == scenario;
        let mut alone = true;
        for group in charts.iter_mut().filter(beside) {
            group.runs.splice(..0, floor.runs.iter().copied());
            alone = false;
        }
        if alone {
            charts.push(floor);
        }
    }
    charts
}

/// A promise of a scenario, and how many runs made it.
#[derive(Default)]
pub(crate) struct Tally<'a> {
    pub(crate) text: &'a str,
    pub(crate) of: usize,
    /// The runs that broke it, and what they saw.
    pub(crate) broken: Vec<(String, &'a str)>,
}

impl<'a> Group<'a> {
    /// Counts its promises. Those of apps that are not ours to judge are left out.
    pub(crate) fn tallies(&self) -> Vec<Tally<'a>> {
        self.tallied(Run::counts)
    }

    /// Counts promises of apps that are not ours, where they are broken.
    pub(crate) fn elsewhere(&self) -> Vec<Tally<'a>> {
        let mut tallies = self.tallied(|run| !run.counts());
        tallies.retain(|tally| !tally.broken.is_empty());
        tallies
    }

    fn tallied(&self, wanted: impl Fn(&Run) -> bool) -> Vec<Tally<'a>> {
        let mut tallies = IndexMap::<_, Tally<'a>>::new();
        for run in self.runs.iter().filter(|run| wanted(run)) {
            for promise in &run.promises {
                let tally = tallies.entry(&promise.text).or_default();
                tally.text = &promise.text;
                tally.of += 1;
                if !promise.kept {
                    tally.broken.push((run.title(), &promise.seen));
                }
            }
        }
        tallies.into_values().collect()
    }
}

/// Returns how many of these were kept, and of how many.
pub(crate) fn sum(tallies: &[Tally<'_>]) -> (usize, usize) {
    let of = tallies.iter().map(|it| it.of).sum();
    let broken: usize = tallies.iter().map(|it| it.broken.len()).sum();
    (of - broken, of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_stand_beside_all_measurements_of_their_scenario_in_charts_alone() {
        let run = |(scenario, what, app): (&str, &str, &str)| Run {
            scenario: scenario.into(),
            what: what.into(),
            app: app.into(),
            ..Run::default()
        };
        let runs = [
            ("hit", "", "floor"),
            ("hit", "zipf", "axum"),
            ("hit", "uniform", "axum"),
            ("miss", "", "floor"),
        ];
        let report = Report {
            runs: runs.map(run).to_vec(),
            ..Report::default()
        };
        let charts = charts(&report);
        let shown = charts.iter().map(|group| {
            let apps = group.runs.iter().map(|run| run.app.as_str());
            (group.name.as_str(), apps.collect::<Vec<_>>())
        });
        let shown: Vec<_> = shown.collect();
        let both = vec!["floor", "axum"];
        let expected = [
            ("hit zipf", both.clone()),
            ("hit uniform", both),
            ("miss", vec!["floor"]),
        ];
        assert_eq!(shown, expected);
        assert_eq!(measurements(&report).len(), 4);
    }
}
