//! Runs that belong together.

use crate::schema::{Report, Run};

/// Runs with something in common, in the order in which they ran.
pub(crate) struct Group<'a> {
    pub(crate) name: String,
    pub(crate) runs: Vec<&'a Run>,
}

/// Groups runs by what was measured, each on every app and cache that there was.
pub(crate) fn measurements(report: &Report) -> Vec<Group<'_>> {
    grouped(&report.runs, Run::name)
}

/// Groups runs by scenario.
pub(crate) fn scenarios(report: &Report) -> Vec<Group<'_>> {
    grouped(&report.runs, |run| run.scenario.clone())
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

fn grouped(runs: &[Run], name: impl Fn(&Run) -> String) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in runs {
        let name = name(run);
        let known = groups.iter().position(|group| group.name == name);
        let index = known.unwrap_or(groups.len());
        if known.is_none() {
            let runs = Vec::new();
            groups.push(Group { name, runs });
        }
        groups[index].runs.push(run);
    }
    groups
}

/// A promise of a scenario, and how many runs kept it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally<'a> {
    pub(crate) text: &'a str,
    pub(crate) kept: usize,
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
        tallies.retain(|tally| tally.kept < tally.of);
        tallies
    }

    fn tallied(&self, wanted: impl Fn(&Run) -> bool) -> Vec<Tally<'a>> {
        let mut tallies: Vec<Tally<'a>> = Vec::new();
        for run in self.runs.iter().filter(|run| wanted(run)) {
            for promise in &run.promises {
                let text = promise.text.as_str();
                let known = tallies.iter().position(|tally| tally.text == text);
                let index = known.unwrap_or(tallies.len());
                if known.is_none() {
                    tallies.push(Tally {
                        text,
                        ..Tally::default()
                    });
                }
                let tally = &mut tallies[index];
                tally.of += 1;
                if promise.kept {
                    tally.kept += 1;
                } else {
                    tally.broken.push((run.title(), &promise.seen));
                }
            }
        }
        tallies
    }
}

/// Returns how many of these were kept, and of how many.
pub(crate) fn sum(tallies: &[Tally<'_>]) -> (usize, usize) {
    tallies.iter().fold((0, 0), |(kept, of), tally| {
        (kept + tally.kept, of + tally.of)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_stand_beside_all_measurements_of_their_scenario_in_charts_alone() {
        let run = |scenario: &str, what: &str, app: &str| Run {
            scenario: scenario.into(),
            what: what.into(),
            app: app.into(),
            ..Run::default()
        };
        let report = Report {
            runs: vec![
                run("hit", "", "floor"),
                run("hit", "zipf", "axum"),
                run("hit", "uniform", "axum"),
                run("miss", "", "floor"),
            ],
            ..Report::default()
        };
        let shown = |groups: Vec<Group<'_>>| {
            let apps = |group: &Group<'_>| group.runs.iter().map(|run| run.app.clone()).collect();
            let shown = groups.iter().map(|group| (group.name.clone(), apps(group)));
            shown.collect::<Vec<(String, Vec<String>)>>()
        };
        let both = vec!["floor".to_owned(), "axum".to_owned()];
        let expected = [
            ("hit zipf".to_owned(), both.clone()),
            ("hit uniform".to_owned(), both),
            ("miss".to_owned(), vec!["floor".to_owned()]),
        ];
        assert_eq!(shown(charts(&report)), expected);
        assert_eq!(shown(measurements(&report)).len(), 4);
    }
}
