//! The stage of a scenario: its apps, its cache, and the bench that measures.

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::app::{App, Cache};
use crate::bench::Bench;
use crate::place::CacheServer;
use crate::python::Python;
use crate::schema::Run;

/// A measurement that states a promise, and checks it while it measures.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// A line about what it measures and proves.
    pub(crate) about: &'static str,
    /// The names of its measurements, where it has several.
    pub(crate) whats: &'static [&'static str],
    pub(crate) of: Of,
    /// Measurements of each app, and those besides: to tell how long it will take.
    pub(crate) parts: (u32, u32),
    pub(crate) run: for<'a> fn(&'a Stage<'a>) -> LocalBoxFuture<'a, Result<Vec<Run>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// All apps, in turns.
    AllApps,
    /// One app after the other.
    EachApp,
    /// No app at all, but the [lab](crate::lab).
    Lab,
    /// One app after the other, over a Redis of our own alone.
    EachAppOnOurRedis,
}

pub(crate) struct Stage<'a> {
    pub(crate) scenario: &'static Scenario,
    pub(crate) bench: &'a Bench<'a>,
    /// One, if the scenario is [of each](Of::EachApp).
    pub(crate) apps: Vec<App>,
    /// Set if these are the first apps that it runs on.
    pub(crate) first: bool,
    pub(crate) place: &'a CacheServer,
    /// The number of processes, if the command line says so.
    pub(crate) instances: Option<u16>,
    pub(crate) python: Option<&'a Python>,
    /// Earlier runs on the same apps and cache.
    pub(crate) before: &'a [Run],
}

impl Stage<'_> {
    /// Returns the one that a scenario of each app is for.
    pub(crate) fn app(&self) -> App {
        self.apps.first().copied().unwrap_or(App::Lab)
    }

    /// Returns the number of processes: one over memory and of the floor, otherwise as many as the
    /// command line says, or else `wanted`.
    pub(crate) fn instances(&self, app: App, wanted: u16) -> u16 {
        match (&self.place.cache, app) {
            (Cache::Memory, _) | (_, App::Floor) => 1,
            _ => self.instances.unwrap_or(wanted),
        }
    }

    pub(crate) fn users(&self) -> usize {
        self.bench.goose.users(self.bench.settings.users.into())
    }

    /// Returns the number of clients that are to get in each other's way.
    pub(crate) fn crowd(&self) -> usize {
        let users = usize::from(self.bench.settings.users);
        self.bench.goose.users(4 * users)
    }
}
