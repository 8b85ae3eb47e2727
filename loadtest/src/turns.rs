//! Measurements in rounds: contenders take turns, so that whatever else the machine does meets all
//! of them alike.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::app::App;
use crate::bench::{Bench, WARM_UP};
use crate::cpu::{self, Usage};
use crate::fleet::Fleet;
use crate::load::{Goose, Load, Metered, repeat};
use crate::meter::{Meter, Rounds};
use crate::schema::{Promise, Run};
use crate::stage::Stage;

/// Something that is measured.
pub(crate) struct Contender {
    pub(crate) scenario: &'static str,
    pub(crate) what: String,
    pub(crate) app: App,
    pub(crate) cache: String,
    pub(crate) instances: u16,
    pub(crate) users: usize,
    /// The name under which its figures are counted.
    pub(crate) counted: &'static str,
    pids: Vec<u32>,
    cold: bool,
    plain: bool,
    step: Metered,
    pub(crate) rounds: Rounds,
    /// Counts of the warm-up: no figure is of them, but promises are.
    pub(crate) warm_up: Arc<Meter>,
}

impl Contender {
    /// Measures an app of a stage.
    pub(crate) fn new(
        stage: &Stage<'_>,
        scenario: &'static str,
        app: App,
        fleet: &Fleet,
        counted: &'static str,
        step: Metered,
    ) -> Self {
        Self {
            cache: stage.place.cache.to_string(),
            instances: fleet.urls().len().try_into().unwrap_or(u16::MAX),
            pids: fleet.pids(),
            ..Self::of_nobody(scenario, app, stage.users(), counted, step)
        }
    }

    /// Measures something that has no stage.
    pub(crate) fn of_nobody(
        scenario: &'static str,
        app: App,
        users: usize,
        counted: &'static str,
        step: Metered,
    ) -> Self {
        Self {
            scenario,
            what: String::new(),
            app,
            cache: "-".to_owned(),
            instances: 1,
            users,
            counted,
            pids: Vec::new(),
            cold: false,
            plain: false,
            step,
            rounds: Rounds::default(),
            warm_up: Arc::new(Meter::silent()),
        }
    }

    /// Tells measurements of one scenario apart.
    pub(crate) fn named(mut self, what: &str) -> Self {
        what.clone_into(&mut self.what);
        self
    }

    pub(crate) fn users(mut self, users: usize) -> Self {
        self.users = users;
        self
    }

    /// Ignores what is asked of goose: where the number of clients and the time are part of what is
    /// measured.
    pub(crate) fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Leaves out the warm-up.
    pub(crate) fn cold(mut self) -> Self {
        self.cold = true;
        self
    }

    /// Measures it once.
    pub(crate) async fn round(&mut self, bench: &Bench<'_>, time: Duration) -> Result<()> {
        let meter = Arc::<Meter>::default();
        let warm_up = (!self.cold).then(|| repeat((self.step)(&self.warm_up), WARM_UP));
        let plain = Goose::default();
        let load = Load {
            name: self.scenario,
            users: self.users,
            time,
            warm_up,
            step: (self.step)(&meter),
            rate: bench.settings.rate.map(f64::from),
            goose: if self.plain { &plain } else { bench.goose },
        };
        let begin = cpu::now(&self.pids);
        load.run(&bench.settings.output.join(self.html())).await?;
        if let (Some(begin), Some(end)) = (begin, cpu::now(&self.pids)) {
            self.rounds.usage.push(begin.until(&end));
        }
        self.rounds.meters.push(meter);
        Ok(())
    }

    /// Returns how often something was counted, measured or not.
    pub(crate) fn all(&self, name: &str) -> u64 {
        self.rounds.counted(name) + self.warm_up.counted(name)
    }

    /// Returns how much failed, measured or not.
    pub(crate) fn failed(&self) -> u64 {
        self.rounds.failed() + self.warm_up.failed()
    }

    /// Promises that nothing failed, with an example if something did.
    pub(crate) fn nothing_failed(&self, text: &str) -> Promise {
        let failed = self.failed();
        let example = self.rounds.failure().or_else(|| self.warm_up.failure());
        let example = example.map(|example| format!("{failed}; for example {example}"));
        let seen = example.unwrap_or_else(|| failed.to_string());
        Promise::new(text, failed == 0, seen)
    }

    /// Returns the figures; facts, summary and promises are still to be told.
    pub(crate) fn run(&self) -> Run {
        let mut run = Run {
            scenario: self.scenario.to_owned(),
            what: self.what.clone(),
            app: self.app.name().to_owned(),
            cache: self.cache.clone(),
            instances: self.instances,
            users: self.users,
            facts: json!({}),
            goose: Some(self.html()),
            ..Run::default()
        };
        self.rounds.fill(self.counted, &mut run);
        if let Some(usage) = Usage::mean(&self.rounds.usage) {
            run.facts["processors_of_load"] = json!(usage.load);
            run.facts["processors_of_apps"] = json!(usage.apps);
            run.facts["machine_busy"] = json!(usage.busy);
            if usage.apps > 0.0 && run.per_second > 0.0 {
                run.facts["app_cpu_us"] = json!(1e6 * usage.apps / run.per_second);
            }
            // Without the processes of the app, what it used is not known.
            let known = usage.limit().filter(|_| !self.pids.is_empty());
            run.limit = known.map(str::to_owned);
        }
        run
    }

    /// Returns the name of goose's report.
    fn html(&self) -> String {
        let (instances, app) = (self.instances.to_string(), self.app.name());
        let mut parts = vec![self.scenario, &self.what, app, &self.cache, &instances];
        parts.retain(|part| !part.is_empty());
        format!("{}.html", parts.join("-").replace([' ', '/'], "-"))
    }
}

/// Measures all of them, each for so long altogether, in as many rounds as the command line says.
pub(crate) async fn in_turns(
    bench: &Bench<'_>,
    time: Duration,
    contenders: &mut [Contender],
) -> Result<()> {
    let rounds = bench.settings.repeats;
    for round in 1..=rounds {
        for contender in &mut *contenders {
            let (what, app) = (&contender.what, contender.app.name());
            let step = format!("round {round} of {rounds}: {what} {app}");
            bench.progress.show(&step);
            contender.round(bench, time / u32::from(rounds)).await?;
        }
    }
    Ok(())
}

/// Measures one.
pub(crate) async fn measure(bench: &Bench<'_>, contender: &mut Contender) -> Result<()> {
    in_turns(
        bench,
        bench.settings.duration,
        std::slice::from_mut(contender),
    )
    .await
}
