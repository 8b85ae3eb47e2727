//! What can be run. A scenario measures something and proves a promise while it does.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::flags::{App, Cache, Flags};
use crate::fleet::{Fleet, Order};
use crate::place::Place;
use crate::progress::Progress;
use crate::schema::Run;

mod contention;
mod hit;
mod reset;
mod stampede;

/// All of them, in the order in which they run.
pub(crate) const ALL: &[Scenario] = &[
    hit::SCENARIO,
    stampede::SCENARIO,
    contention::SCENARIO,
    reset::SCENARIO,
];

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What it measures, and what it proves.
    pub(crate) about: &'static str,
    pub(crate) run: for<'a> fn(&'a Stage<'a>) -> LocalBoxFuture<'a, Result<Vec<Run>>>,
}

pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|scenario| scenario.name).collect()
}

/// Where a scenario runs.
pub(crate) struct Stage<'a> {
    pub(crate) app: App,
    pub(crate) place: &'a Place,
    pub(crate) flags: &'a Flags,
    pub(crate) progress: &'a Progress,
}

impl Stage<'_> {
    /// Starts the app: as many processes as the command line says, else `instances`, but one over memory.
    pub(crate) async fn fleet(
        &self,
        instances: u16,
        delay: Duration,
        lock_wait: Duration,
    ) -> Result<Fleet> {
        self.start(self.app, self.instances(instances), delay, lock_wait)
            .await
    }

    /// Starts the app that does nothing.
    pub(crate) async fn floor(&self) -> Result<Fleet> {
        self.start(App::Floor, 1, Duration::ZERO, Duration::ZERO)
            .await
    }

    pub(crate) fn instances(&self, wanted: u16) -> u16 {
        match self.place.cache {
            Cache::Memory => 1,
            _ => self.flags.instances.unwrap_or(wanted),
        }
    }

    /// Where goose writes a report.
    pub(crate) fn html(&self, name: &str) -> PathBuf {
        self.flags.output.join(name)
    }

    /// The name of goose's report of a run.
    pub(crate) fn html_name(&self, name: &str) -> String {
        let name = name.replace(' ', "-");
        format!("{name}-{}-{}.html", self.app.name(), self.place.cache)
    }

    async fn start(
        &self,
        app: App,
        instances: u16,
        delay: Duration,
        lock_wait: Duration,
    ) -> Result<Fleet> {
        Fleet::start(Order {
            app,
            instances,
            cache: &self.place.url,
            delay,
            lock_wait,
            logs: &self.flags.output,
        })
        .await
    }
}
