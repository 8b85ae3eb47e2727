//! The user database: SQLite.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use tempfile::TempDir;

use crate::{NewUser, User};

/// A database error.
pub type StoreError = sqlx::Error;

/// A failure to open the database.
#[derive(Debug)]
pub struct OpenError {
    place: String,
    source: StoreError,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open the database at {}", self.place)
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The database. Cheap to clone; all clones are one pool of connections.
///
/// It counts its operations, to prove which values were computed and which came from a cache:
/// `users_reads_total`, `users_writes_total`, and `users_overlapping_updates_total`. The last one
/// stays 0 as long as no two updates of one user ran at the same time, in any process.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    name: Arc<str>,
    delay: Duration,
    /// The directory of a temporary database, removed with the last clone.
    _temporary: Option<Arc<TempDir>>,
}

impl Store {
    /// Opens the database at `url`, or a temporary one. Creates and migrates it if needed.
    ///
    /// `delay` simulates a slow system. It passes *after* the database was read, and *before* the
    /// answer of a read or the write of an update. That widens the race between a read in flight
    /// and an update.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the URL is not a SQLite URL, or if the file cannot be opened or migrated.
    pub async fn open(url: Option<&str>, delay: Duration) -> Result<Self, OpenError> {
        let opened = Self::try_open(url, delay).await;
        opened.map_err(|source| OpenError {
            place: url.unwrap_or("a temporary directory").to_owned(),
            source,
        })
    }

    async fn try_open(url: Option<&str>, delay: Duration) -> Result<Self, StoreError> {
        let (options, temporary) = if let Some(url) = url {
            (SqliteConnectOptions::from_str(url)?, None)
        } else {
            let directory = tempfile::Builder::new().prefix("users-").tempdir()?;
            let file = directory.path().join("users.db");
            let options = SqliteConnectOptions::new().filename(file);
            (options, Some(Arc::new(directory)))
        };
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(8)
            .connect_with(options)
            .await?;
        migrations().run(&pool).await?;
        let (name,): (String,) = sqlx::query_as("SELECT name FROM identity")
            .fetch_one(&pool)
            .await?;

        describe_counter!("users_reads_total", "Users read from the database");
        describe_counter!("users_writes_total", "Users written to the database");
        describe_counter!(
            "users_overlapping_updates_total",
            "Updates that found their user changed between their read and their write"
        );
        for name in [
            "users_reads_total",
            "users_writes_total",
            "users_overlapping_updates_total",
        ] {
            counter!(name).increment(0);
        }
        Ok(Self {
            pool,
            name: name.into(),
            delay,
            _temporary: temporary,
        })
    }

    /// Returns the unique name that this database got at its creation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates a user.
    ///
    /// # Errors
    ///
    /// Returns an error if the database fails. The user was not created then.
    pub async fn create(&self, new: &NewUser) -> Result<User, StoreError> {
        // SQLite returns the row before it commits. Only the commit proves that the row is written.
        let mut write = self.pool.begin().await?;
        let (id,) = sqlx::query_as("INSERT INTO users (name, email) VALUES (?, ?) RETURNING id")
            .bind(new.name())
            .bind(new.email())
            .fetch_one(&mut *write)
            .await?;
        write.commit().await?;
        counter!("users_writes_total").increment(1);
        Ok(new.with_id(id))
    }

    /// Reads a user, then waits for the delay.
    ///
    /// # Errors
    ///
    /// Returns an error if the database fails.
    pub async fn find(&self, id: i64) -> Result<Option<User>, StoreError> {
        let row: Option<(String, String)> =
            sqlx::query_as("SELECT name, email FROM users WHERE id = ?")
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
        counter!("users_reads_total").increment(1);
        self.pause().await;
        Ok(row.map(|(name, email)| User { id, name, email }))
    }

    /// Reads a user, waits for the delay, then writes the new fields. If two updates overlap, the
    /// last write wins; the app has to prevent that.
    ///
    /// # Errors
    ///
    /// Returns an error if the database fails. The user is unchanged then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the write changes nothing. If it is dropped during the commit,
    /// the database may still finish the write a moment later.
    pub async fn update(&self, id: i64, new: &NewUser) -> Result<Option<User>, StoreError> {
        let Some((before,)) = sqlx::query_as::<_, (i64,)>("SELECT version FROM users WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?
        else {
            return Ok(None);
        };
        self.pause().await;
        let mut write = self.pool.begin().await?;
        let written: Option<(i64,)> = sqlx::query_as(
            "UPDATE users SET name = ?, email = ?, version = version + 1 WHERE id = ? \
             RETURNING version",
        )
        .bind(new.name())
        .bind(new.email())
        .bind(id)
        .fetch_optional(&mut *write)
        .await?;
        write.commit().await?;
        let Some((after,)) = written else {
            return Ok(None);
        };
        counter!("users_writes_total").increment(1);
        if after != before + 1 {
            counter!("users_overlapping_updates_total").increment(1);
        }
        Ok(Some(new.with_id(id)))
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    ///
    /// Returns an error if it does not.
    pub async fn check(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections, once they are idle.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn pause(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }
}

/// Returns the migrations in `migrations/`. `sqlx::migrate!` does the same, but its macro would
/// compile SQLite a second time.
fn migrations() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(vec![
        migration(1, "users", include_str!("../migrations/1_users.sql")),
        migration(2, "identity", include_str!("../migrations/2_identity.sql")),
    ])
}
