//! Which runs belong together.

use crate::schema::{Report, Run};

/// Runs with something in common, in the order in which they ran.
pub(crate) struct Group<'a> {
    pub(crate) name: String,
    pub(crate) runs: Vec<&'a Run>,
}

impl Report {
    /// What was measured, each on every app and cache that there was.
    pub(crate) fn measurements(&self) -> Vec<Group<'_>> {
        grouped(&self.runs, Run::name)
    }

    /// The same for charts: floors stand beside each measurement of their scenario.
    pub(crate) fn charts(&self) -> Vec<Group<'_>> {
        let (floors, mut charts): (Vec<_>, Vec<_>) = self
            .measurements()
            .into_iter()
            .partition(|group| group.runs.iter().all(|run| run.app == "floor"));
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

    /// One group a scenario.
    pub(crate) fn scenarios(&self) -> Vec<Group<'_>> {
        grouped(&self.runs, |run| run.scenario.clone())
    }
}

fn grouped(runs: &[Run], name: impl Fn(&Run) -> String) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in runs {
        let name = name(run);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group {
                name,
                runs: vec![run],
            }),
        }
    }
    groups
}

/// A promise of a scenario, and how many runs kept it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tally<'a> {
    pub(crate) text: &'a str,
    pub(crate) kept: usize,
    pub(crate) of: usize,
    /// Which runs broke it, and what they saw.
    pub(crate) broken: Vec<(String, &'a str)>,
}

impl<'a> Group<'a> {
    /// Its promises. Those of apps that are not ours to judge are left out.
    pub(crate) fn tallies(&self) -> Vec<Tally<'a>> {
        self.tallied(Run::counts)
    }

    /// Promises of apps that are not ours, where they are broken.
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
                let index = known.unwrap_or_else(|| {
                    tallies.push(Tally {
                        text,
                        kept: 0,
                        of: 0,
                        broken: Vec::new(),
                    });
                    tallies.len() - 1
                });
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

/// How many of these were kept, of how many.
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
        assert_eq!(shown(report.charts()), expected);
        assert_eq!(shown(report.measurements()).len(), 4);
    }
}
