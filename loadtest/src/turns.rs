//! Measurements in rounds: contenders take turns, so that whatever else the machine does meets all
//! of them alike.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::app::App;
use crate::bench::{Bench, WARM_UP};
use crate::cpu::{self, Usage};
use crate::fleet::{Computed, Fleet};
use crate::load::{Goose, Load, Metered, repeat};
use crate::meter::{FAILED, Meter, latency, median_and_spread};
use crate::schema::{Latency, Promise, Run};
use crate::stage::Stage;

pub(crate) struct Contender {
    scenario: &'static str,
    /// Tells measurements of one scenario apart.
    pub(crate) what: &'static str,
    app: App,
    cache: String,
    pub(crate) instances: u16,
    pub(crate) users: usize,
    /// The name under which its figures are counted.
    counted: &'static str,
    pids: Vec<u32>,
    /// Leaves out the warm-up.
    pub(crate) cold: bool,
    /// Ignores what is asked of goose: where the number of clients and the time are part of what is
    /// measured.
    pub(crate) plain: bool,
    step: Metered,
    rounds: Vec<Arc<Meter>>,
    usage: Vec<Usage>,
    /// Counts of the warm-up: no figure is of them, but promises are.
    warm_up: Arc<Meter>,
}

impl Contender {
    /// Measures an app of a stage.
    pub(crate) fn new(
        stage: &Stage<'_>,
        app: App,
        fleet: &Fleet,
        counted: &'static str,
        step: Metered,
    ) -> Self {
        Self {
            app,
            cache: stage.place.cache.to_string(),
            instances: fleet.urls().len().try_into().unwrap_or(u16::MAX),
            pids: fleet.pids(),
            ..Self::of_target(stage.scenario.name, stage.users(), counted, step)
        }
    }

    /// Measures somebody's own service.
    pub(crate) fn of_target(
        scenario: &'static str,
        users: usize,
        counted: &'static str,
        step: Metered,
    ) -> Self {
        Self {
            scenario,
            what: "",
            app: App::Target,
            cache: "-".to_owned(),
            instances: 1,
            users,
            counted,
            pids: Vec::new(),
            cold: false,
            plain: false,
            step,
            rounds: Vec::new(),
            usage: Vec::new(),
            warm_up: Arc::new(Meter::silent()),
        }
    }

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
            self.usage.push(begin.until(&end));
        }
        self.rounds.push(meter);
        Ok(())
    }

    /// Measures it in rounds, and returns what its fleet computed meanwhile.
    pub(crate) async fn measure(&mut self, bench: &Bench<'_>, fleet: &Fleet) -> Result<Computed> {
        let before = fleet.computed().await?;
        measure(bench, self).await?;
        Ok(fleet.computed().await? - before)
    }

    /// Returns how often something was counted in the rounds.
    pub(crate) fn measured(&self, name: &str) -> u64 {
        self.rounds.iter().map(|meter| meter.counted(name)).sum()
    }

    /// Returns how often something was counted, measured or not.
    pub(crate) fn all(&self, name: &str) -> u64 {
        self.measured(name) + self.warm_up.counted(name)
    }

    /// Returns the times of each round, in microseconds.
    pub(crate) fn times(&self, name: &str) -> Vec<Vec<u64>> {
        self.rounds.iter().map(|meter| meter.times(name)).collect()
    }

    pub(crate) fn latency(&self, name: &str) -> Latency {
        latency(self.times(name))
    }

    /// Promises that nothing failed, measured or not, with an example if something did.
    pub(crate) fn nothing_failed(&self, text: &str) -> Promise {
        let failed = self.all(FAILED);
        let mut meters = self.rounds.iter().chain([&self.warm_up]);
        let seen = match meters.find_map(|meter| meter.failure()) {
            Some(example) => format!("{failed}; for example {example}"),
            None => failed.to_string(),
        };
        Promise::new(text, failed == 0, seen)
    }

    /// Returns the figures; facts, summary and promises are still to be told.
    pub(crate) fn run(&self) -> Run {
        let seconds = self
            .rounds
            .iter()
            .map(|meter| meter.elapsed().as_secs_f64());
        let rates = seconds.clone().zip(&self.rounds);
        let rates = rates.map(|(seconds, meter)| rate(meter.counted(self.counted), seconds));
        let (per_second, spread) = median_and_spread(rates.collect());
        let mut run = Run {
            scenario: self.scenario.to_owned(),
            what: self.what.to_owned(),
            app: self.app.name().to_owned(),
            cache: self.cache.clone(),
            instances: self.instances,
            users: self.users,
            seconds: seconds.sum(),
            per_second,
            spread,
            repeats: self.rounds.len(),
            latency_us: self.latency(self.counted),
            facts: json!({}),
            goose: Some(self.html()),
            ..Run::default()
        };
        if let Some(usage) = Usage::mean(&self.usage) {
            run.add_facts(json!({
                "processors_of_load": usage.load,
                "processors_of_apps": usage.apps,
                "machine_busy": usage.busy,
            }));
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
        let mut parts = vec![self.scenario, self.what, app, &self.cache, &instances];
        parts.retain(|part| !part.is_empty());
        format!("{}.html", parts.join("-").replace([' ', '/'], "-"))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of requests")]
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
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
            let (what, app) = (contender.what, contender.app.name());
            let step = format!("round {round} of {rounds}: {what} {app}");
            bench.progress.show(&step);
            contender.round(bench, time / u32::from(rounds)).await?;
        }
    }
    Ok(())
}

pub(crate) async fn measure(bench: &Bench<'_>, contender: &mut Contender) -> Result<()> {
    let alone = std::slice::from_mut(contender);
    in_turns(bench, bench.settings.duration, alone).await
}
