//! Users whose names are versions, so that a read that is older than an update before it shows.
//!
//! Each client updates one user of its own, to versions that it counts, and reads everybody's. A
//! reader notes first which version was answered to its owner last: finding an older one is a
//! broken promise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::Client;
use tokio::time::sleep;
use users::User;

use crate::client::{Answer, send};
use crate::fleet::{Fleet, change};
use crate::schema::Promise;

/// The time that the last abandoned requests may take to come to their end.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) struct World {
    urls: Vec<String>,
    users: Vec<Versioned>,
    stale: AtomicU64,
}

/// A user whose name is `v` and a version, 0 while it is another.
#[derive(Default)]
pub(crate) struct Versioned {
    id: i64,
    /// The version that its owner sent last.
    sent: AtomicU64,
    /// The version that its owner was answered last.
    answered: AtomicU64,
}

impl World {
    /// Creates as many users in an empty database.
    pub(crate) async fn new(fleet: &Fleet, users: usize) -> Result<Arc<Self>> {
        let users = fleet.seed(users.try_into()?).await?.into_iter();
        let versioned = |User { id, .. }| Versioned {
            id,
            ..Versioned::default()
        };
        Ok(Arc::new(Self {
            urls: fleet.urls(),
            users: users.map(versioned).collect(),
            stale: AtomicU64::default(),
        }))
    }

    /// Promises that no read was stale, and none will be.
    pub(crate) async fn promises(&self, fleet: &Fleet) -> Result<[Promise; 2]> {
        let stale = self.stale.load(Ordering::SeqCst);
        let differ = self.disagreements(fleet).await?;
        Ok([
            Promise::none("no read was older than an update before it", stale),
            Promise::none("in the end all say what the database says", differ),
        ])
    }

    /// Counts answers that differ from the database, once everything under way has ended.
    async fn disagreements(&self, fleet: &Fleet) -> Result<u64> {
        let database = fleet.database().await?;
        let end = Instant::now() + SETTLE;
        loop {
            let mut differ = 0;
            for Versioned { id, .. } in &self.users {
                let truth = database.find(*id).await?;
                for user in fleet.read(*id).await? {
                    differ += u64::from(Some(user) != truth);
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

    /// Updates a user to its next version. A caller that finds that this was done says so with
    /// [`answered`](Versioned::answered).
    pub(crate) fn update(
        &self,
        client: &Client,
        user: &Versioned,
    ) -> (u64, impl Future<Output = Answer> + use<>) {
        let version = user.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let request = client.put(self.url(user));
        (version, send(request.json(&change(&format!("v{version}")))))
    }

    /// Reads anybody's user, and returns whether the answer tells a version.
    pub(crate) async fn read(&self, client: &Client) -> (Answer, bool) {
        let user = &self.users[fastrand::usize(..self.users.len())];
        let answered = user.answered.load(Ordering::SeqCst);
        let answer = send(client.get(self.url(user))).await;
        let version = version(&answer.body).filter(|_| answer.is_ok());
        let stale = version.is_some_and(|version| version < answered);
        self.stale.fetch_add(stale.into(), Ordering::SeqCst);
        (answer, version.is_some())
    }

    /// The address of a user, at any process.
    fn url(&self, user: &Versioned) -> String {
        let url = &self.urls[fastrand::usize(..self.urls.len())];
        format!("{url}/users/{}", user.id)
    }
}

impl Versioned {
    /// An update was answered: from now on, nobody may read an older one.
    pub(crate) fn answered(&self, version: u64) {
        self.answered.fetch_max(version, Ordering::SeqCst);
    }
}

fn version(body: &[u8]) -> Option<u64> {
    let user: User = serde_json::from_slice(body).ok()?;
    let version = user.name.strip_prefix('v');
    version.map_or(Some(0), |version| version.parse().ok())
}
