//! Users whose names are versions, so that a read that is older than an update before it shows, and
//! by how much.
//!
//! Each version of a user is sent by one client, and the time is kept at which its update was
//! answered. A read that began after that and finds an older version is stale, for as long as the
//! update had been answered then. All times are of one clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::Client;
use tokio::time::sleep;
use users::User;

use crate::client::{Answer, send};
use crate::fleet::{Fleet, change};
use crate::meter::micros;
use crate::schema::Promise;
use crate::stage::Stage;

/// The time that the last abandoned requests may take to come to their end.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) struct World {
    urls: Vec<String>,
    users: Vec<Versioned>,
    /// The longest time for which a read may be stale.
    bound: Duration,
    stale: AtomicU64,
    too_stale: AtomicU64,
    longest_us: AtomicU64,
}

/// A user whose name is `v` and a version, 0 while it is another.
#[derive(Default)]
pub(crate) struct Versioned {
    id: i64,
    /// The version that was sent last.
    sent: AtomicU64,
    /// Versions whose updates were answered, and when: both only grow.
    answered: Mutex<Vec<(u64, Instant)>>,
}

impl World {
    /// Creates as many users in an empty database.
    pub(crate) async fn new(stage: &Stage<'_>, fleet: &Fleet, users: usize) -> Result<Arc<Self>> {
        let users = fleet.seed(users.try_into()?).await?.into_iter();
        let versioned = |User { id, .. }| Versioned {
            id,
            ..Versioned::default()
        };
        let urls = fleet.urls();
        let alone = urls.len() == 1;
        Ok(Arc::new(Self {
            urls,
            users: users.map(versioned).collect(),
            bound: if alone {
                Duration::ZERO
            } else {
                stage.place.staleness()
            },
            stale: AtomicU64::default(),
            too_stale: AtomicU64::default(),
            longest_us: AtomicU64::default(),
        }))
    }

    pub(crate) fn bound(&self) -> Duration {
        self.bound
    }

    /// Returns the number of stale reads, and for how long the longest one was stale.
    pub(crate) fn stale(&self) -> (u64, Duration) {
        let longest = Duration::from_micros(self.longest_us.load(Ordering::SeqCst));
        (self.stale.load(Ordering::SeqCst), longest)
    }

    /// Promises that no read was stale, and none will be.
    pub(crate) async fn promises(&self, fleet: &Fleet) -> Result<[Promise; 2]> {
        let differ = self.disagreements(fleet).await?;
        let too_stale = self.too_stale.load(Ordering::SeqCst);
        let fresh = if self.bound.is_zero() {
            Promise::none("no read was older than an update before it", too_stale)
        } else {
            let seen = format!("{too_stale}; the longest for {:?}", self.stale().1);
            let text = format!("no read was stale for longer than {:?}", self.bound);
            Promise::new(&text, too_stale == 0, seen)
        };
        let agreed = Promise::none("in the end all say what the database says", differ);
        Ok([fresh, agreed])
    }

    /// Counts answers that differ from the database, once everything under way has ended.
    async fn disagreements(&self, fleet: &Fleet) -> Result<u64> {
        let database = fleet.database().await?;
        let end = Instant::now() + SETTLE;
        loop {
            let mut differ = 0;
            for Versioned { id, .. } in &self.users {
                let truth = database.find(*id).await?;
                for user in fleet.ask(&format!("users/{id}")).await? {
                    differ += u64::from(Some::<User>(user) != truth);
                }
            }
            if differ == 0 || Instant::now() > end {
                return Ok(differ);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The user that belongs to a client.
    pub(crate) fn of(&self, client: usize) -> &Versioned {
        &self.users[client % self.users.len()]
    }

    /// Returns any user.
    pub(crate) fn any(&self) -> &Versioned {
        self.of(fastrand::usize(..))
    }

    /// Returns the first process.
    pub(crate) fn first(&self) -> &str {
        &self.urls[0]
    }

    /// Returns any process.
    pub(crate) fn anywhere(&self) -> &str {
        &self.urls[fastrand::usize(..self.urls.len())]
    }

    /// Reads a user from any process, and returns whether the answer tells a version.
    pub(crate) async fn read(&self, client: &Client, user: &Versioned) -> (Answer, bool) {
        let (began, url) = (Instant::now(), self.anywhere());
        let answer = send(client.get(format!("{url}/users/{}", user.id))).await;
        let version = version(&answer.body).filter(|_| answer.is_ok());
        if let Some(stale) = version.and_then(|version| user.stale(version, began)) {
            self.stale.fetch_add(1, Ordering::SeqCst);
            self.too_stale
                .fetch_add((stale > self.bound).into(), Ordering::SeqCst);
            self.longest_us.fetch_max(micros(stale), Ordering::SeqCst);
        }
        (answer, version.is_some())
    }
}

impl Versioned {
    /// Updates it at a process to its next version. A caller that finds that this was done says so
    /// with [`answered`](Self::answered).
    pub(crate) fn update(
        &self,
        client: &Client,
        url: &str,
    ) -> (u64, impl Future<Output = Answer> + use<>) {
        let version = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let request = client.put(format!("{url}/users/{}", self.id));
        (version, send(request.json(&change(&format!("v{version}")))))
    }

    /// An update was answered: from now on, older versions are stale.
    pub(crate) fn answered(&self, version: u64) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.last().is_none_or(|(last, _)| *last < version) {
            answered.push((version, Instant::now()));
        }
    }

    /// Returns how long before a moment the first later version than this was answered.
    fn stale(&self, version: u64, at: Instant) -> Option<Duration> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let next = answered.partition_point(|(known, _)| *known <= version);
        at.checked_duration_since(answered.get(next)?.1)
    }
}

fn version(body: &[u8]) -> Option<u64> {
    let user: User = serde_json::from_slice(body).ok()?;
    let version = user.name.strip_prefix('v');
    version.map_or(Some(0), |version| version.parse().ok())
}
