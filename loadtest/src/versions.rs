//! Users whose names are versions, so that a read that is older than an update before it shows.
//!
//! Each client updates one user of its own, to versions that it counts, and reads everybody's. A
//! reader notes first which version was answered to its owner last: finding an older one is a
//! broken promise.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Client;
use users::User;

use crate::client::{Answer, send};
use crate::fleet::change;

pub(crate) struct World {
    urls: Vec<String>,
    users: Vec<Versioned>,
    stale: AtomicU64,
}

/// A user whose name is `v` and a version, 0 while it is another.
pub(crate) struct Versioned {
    id: i64,
    /// The version that its owner sent last.
    sent: AtomicU64,
    /// The version that its owner was answered last.
    answered: AtomicU64,
}

impl World {
    pub(crate) fn new(urls: Vec<String>, users: &[User]) -> Self {
        let (sent, answered) = (AtomicU64::default, AtomicU64::default);
        let users = users.iter().map(|user| Versioned {
            id: user.id,
            sent: sent(),
            answered: answered(),
        });
        let (users, stale) = (users.collect(), AtomicU64::default());
        Self { urls, users, stale }
    }

    /// Reads that found an older version than was answered before.
    pub(crate) fn stale(&self) -> u64 {
        self.stale.load(Ordering::SeqCst)
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

    /// Reads anybody's user; the answer is an error if it does not tell a version.
    pub(crate) async fn read(&self, client: &Client) -> Result<Answer, Answer> {
        let user = &self.users[fastrand::usize(..self.users.len())];
        let answered = user.answered.load(Ordering::SeqCst);
        let answer = send(client.get(self.url(user))).await;
        match version(&answer.body) {
            Some(version) if answer.is_ok() => {
                if version < answered {
                    self.stale.fetch_add(1, Ordering::SeqCst);
                }
                Ok(answer)
            }
            _ => Err(answer),
        }
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
