//! The processes of one app, and what can be asked of them.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sqlx::SqlitePool;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use users::{Store, User};

use crate::app::App;
use crate::sabotage::Sabotage;
use crate::scratch;
use crate::stage::Stage;

/// The time that a process may take to start, or to end when it is asked to.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Processes that share a database and a cache. They end when this is dropped, or when this process
/// ends.
pub(crate) struct Fleet {
    instances: Vec<Instance>,
    client: Client,
    // Goes last.
    directory: TempDir,
}

struct Instance {
    process: Child,
    url: String,
    log: PathBuf,
}

/// Counts of the apps' computations, all apps together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Computed {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// Updates that ran at the same time as another one of the same user.
    pub(crate) overlaps: u64,
    /// Reads that were computed for their caller alone, because the cache did not answer in time.
    pub(crate) alone: u64,
    /// Hits in the memory in front of Redis.
    pub(crate) local: u64,
}

impl std::ops::Sub for Computed {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            overlaps: self.overlaps - before.overlaps,
            alone: self.alone - before.alone,
            local: self.local - before.local,
        }
    }
}

impl Fleet {
    /// Starts an app: `instances` processes of it, or [as many as](Stage::instances) make sense.
    pub(crate) async fn start(
        stage: &Stage<'_>,
        app: App,
        instances: u16,
        delay: Duration,
        lock_wait: Duration,
    ) -> Result<Self> {
        let directory = scratch::folder()?;
        let prefix = format!("loadtest-{:016x}", fastrand::u64(..));
        let mut fleet = Self {
            instances: Vec::new(),
            client: Client::builder().timeout(TIMEOUT).build()?,
            directory,
        };
        if !matches!(app, App::Floor | App::Lab) {
            // Makes it: not every app can.
            fleet.database().await?.close().await;
        }
        let database = fleet.database_url();
        let arguments = [
            ["--listen", "127.0.0.1:0"],
            ["--prefix", &prefix],
            ["--delay", &format!("{}us", delay.as_micros())],
            ["--lock-wait", &format!("{}us", lock_wait.as_micros())],
            ["--database", &database],
        ];
        for _ in 0..stage.instances(app, instances) {
            let instance = Instance::start(stage, app, arguments.as_flattened()).await?;
            fleet.instances.push(instance);
        }
        let sabotage = Sabotage::asked_for()?;
        assert!(sabotage != Some(Sabotage::Panic), "told to panic");
        Ok(fleet)
    }

    fn database_url(&self) -> String {
        let file = self.directory.path().join("users.db");
        format!("sqlite://{}", file.display())
    }

    pub(crate) async fn database(&self) -> Result<Store> {
        Ok(Store::open(Some(&self.database_url()), Duration::ZERO).await?)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.instances.iter().map(|it| it.url.clone()).collect()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.instances
            .iter()
            .filter_map(|it| it.process.id())
            .collect()
    }

    /// Creates users in an empty database: all at once, where each would take a request. `User 1`
    /// has the id 1.
    pub(crate) async fn seed(&self, count: u32) -> Result<Vec<User>> {
        let pool = SqlitePool::connect(&self.database_url()).await?;
        let users = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?) \
            INSERT INTO users (id, name, email) \
            SELECT n, 'User ' || n, 'user-' || n || '@example.com' FROM n";
        sqlx::query(users).bind(count).execute(&pool).await?;
        pool.close().await;
        Ok((1..=count.into()).map(seeded).collect())
    }

    /// Reads every user once from every process, and returns the answers' bodies: one per user,
    /// since all processes write them alike.
    pub(crate) async fn warm_up(&self, users: &[User]) -> Result<Vec<Vec<u8>>> {
        let mut bodies = Vec::new();
        for user in users {
            for instance in &self.instances {
                let response = self.get(instance, &format!("users/{}", user.id)).await?;
                let body: Vec<u8> = response.bytes().await?.into();
                let read: User = serde_json::from_slice(&body)?;
                ensure!(read == *user, "expected {user:?}, got {read:?}");
                if bodies.last() != Some(&body) {
                    bodies.push(body);
                }
            }
        }
        ensure!(
            bodies.len() == users.len(),
            "the processes differ in how they write a user"
        );
        Ok(bodies)
    }

    /// Asks each process the same.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        let mut answers = Vec::new();
        for instance in &self.instances {
            answers.push(self.get(instance, path).await?.json().await?);
        }
        Ok(answers)
    }

    /// Tells each process the same.
    pub(crate) async fn tell(&self, path: &str, what: &impl Serialize) -> Result<()> {
        for instance in &self.instances {
            let request = self.client.put(format!("{}/{path}", instance.url));
            request.json(what).send().await?.error_for_status()?;
        }
        Ok(())
    }

    /// Asks the processes what they computed since they were started.
    pub(crate) async fn computed(&self) -> Result<Computed> {
        let mut sum = Computed::default();
        for instance in &self.instances {
            let metrics = self.get(instance, "metrics").await?.text().await?;
            let counter = |name| {
                let missing = || format!("/metrics does not have {name}");
                counters(&metrics, name, "")
                    .reduce(|a, b| a + b)
                    .with_context(missing)
            };
            sum.reads += counter("users_reads_total")?;
            sum.writes += counter("users_writes_total")?;
            sum.overlaps += counter("users_overlapping_updates_total")?;
            let local = counters(&metrics, "cachify_tier_hits_total", "source=\"memory\"");
            sum.local += local.sum::<u64>();
            for outcome in ["outcome=\"unstored\"", "outcome=\"bypass\""] {
                sum.alone += counters(&metrics, "cachify_requests_total", outcome).sum::<u64>();
            }
        }
        Ok(sum)
    }

    async fn get(&self, instance: &Instance, path: &str) -> Result<Response> {
        let url = format!("{}/{path}", instance.url);
        Ok(self.client.get(url).send().await?.error_for_status()?)
    }

    /// Ends all processes, and fails if one does not end in time and well.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for instance in &mut self.instances {
            drop(instance.process.stdin.take());
        }
        for instance in &mut self.instances {
            let status = timeout(TIMEOUT, instance.process.wait()).await;
            let words = || instance.last_words();
            match status.ok().transpose()? {
                Some(status) if status.success() => {}
                Some(status) => bail!("an app ended with {status:?}: {}", words()),
                None => bail!("an app did not end within {TIMEOUT:?}: {}", words()),
            }
        }
        Ok(())
    }
}

impl Instance {
    async fn start(stage: &Stage<'_>, app: App, arguments: &[&str]) -> Result<Self> {
        let name = format!("{}-{:08x}.log", app.name(), fastrand::u32(..));
        let log = stage.bench.settings.output.join(name);
        let stderr = File::create(&log);
        let stderr = stderr.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = if let (App::Python, Some(python)) = (app, stage.python) {
            python.command()
        } else {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["serve", "--app", app.name()]);
            command
        };
        command
            .args(arguments)
            // Not an argument: it may hold a password.
            .env("CACHIFY_URL", &stage.place.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true);
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "warn");
        }
        // Ctrl-C is for us; the apps end after us.
        #[cfg(unix)]
        command.process_group(0);

        let mut instance = Self {
            process: command.spawn().context("cannot start an app")?,
            url: String::new(),
            log,
        };
        let stdout = instance.process.stdout.take();
        let mut lines = BufReader::new(stdout.context("no standard output")?).lines();
        let line = timeout(TIMEOUT, lines.next_line()).await;
        match line.ok().transpose()?.flatten() {
            Some(line) => {
                let url = line.strip_prefix("listening on ");
                url.context("an app said something else than where it listens")?
                    .clone_into(&mut instance.url);
                Ok(instance)
            }
            None => bail!("an app did not start: {}", instance.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.reverse();
        format!("{}\n{}", self.log.display(), lines.join("\n"))
    }
}

/// Returns the counters of a name that have a label.
fn counters(metrics: &str, name: &str, label: &str) -> impl Iterator<Item = u64> {
    metrics.lines().filter_map(move |line| {
        let (labels, count) = line.strip_prefix(name)?.rsplit_once(' ')?;
        count.parse().ok().filter(|_| labels.contains(label))
    })
}

/// The user that [`Fleet::seed`] creates under an id.
pub(crate) fn seeded(id: i64) -> User {
    User {
        id,
        name: format!("User {id}"),
        email: format!("user-{id}@example.com"),
    }
}

/// Returns what to send to change a user.
pub(crate) fn change(name: &str) -> serde_json::Value {
    json!({"name": name, "email": "changed@example.com"})
}
