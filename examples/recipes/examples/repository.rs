//! Caches in the methods of a repository.
//!
//! The repository owns the handle and the database (here SQLite, through sqlx). Its callers know
//! nothing about the cache, and every change to a row resets the entries made from it.
#![allow(clippy::print_stdout)]

use cachify_core::{Cachify, cached, key};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: i64,
    name: String,
}

// ANCHOR: repository
struct Users {
    cachify: Cachify,
    db: SqlitePool,
}

impl Users {
    #[cached(key = "user-{id}", ttl = "5m", with = self.cachify)]
    async fn find(&self, id: i64) -> sqlx::Result<Option<User>> {
        let row: Option<(String,)> = sqlx::query_as("SELECT name FROM users WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.db)
            .await?;
        Ok(row.map(|(name,)| User { id, name }))
    }

    #[cached(key = "user_count", ttl = "1m", with = self.cachify)]
    async fn count(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT COUNT(*) FROM users")
            .fetch_one(&self.db)
            .await
    }

    /// Renames a user, and resets the user's entry.
    async fn rename(&self, id: i64, name: &str) -> sqlx::Result<()> {
        let rename = async {
            let sql = sqlx::query("UPDATE users SET name = ? WHERE id = ?");
            sql.bind(name).bind(id).execute(&self.db).await
        };
        self.cachify.update(&key!("user-{id}"), rename).await?;
        Ok(())
    }

    /// Creates a user. Resets the count and the user's entry, since the user's absence may be
    /// cached.
    async fn create(&self, id: i64, name: &str) -> sqlx::Result<()> {
        let (user, count) = (key!("user-{id}"), key!("user_count"));
        let create = async {
            let sql = sqlx::query("INSERT INTO users (id, name) VALUES (?, ?)");
            sql.bind(id).bind(name).execute(&self.db).await
        };
        let create = self.cachify.update(&user, create);
        self.cachify.update(&count, create).await?;
        Ok(())
    }
}
// ANCHOR_END: repository

/// A database in memory, which lives as long as its only connection.
async fn database() -> sqlx::Result<SqlitePool> {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let db = pool.connect("sqlite::memory:").await?;
    let table = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)";
    sqlx::query(table).execute(&db).await?;
    Ok(db)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CACHIFY_URL").unwrap_or_else(|_| "memory://".into());
    let users = Users {
        cachify: Cachify::connect(&url).await?,
        db: database().await?,
    };
    users.create(1, "Ann").await?;
    println!("{:?}", users.find(1).await?);
    users.rename(1, "Bob").await?;
    println!("{:?} of {}", users.find(1).await?, users.count().await?);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_runs() {
        super::main().unwrap();
    }

    #[tokio::test]
    async fn what_the_repository_changes_is_read_again_and_nothing_else() {
        let users = Users {
            cachify: Cachify::memory(),
            db: database().await.unwrap(),
        };
        // The absence of a user is cached, too.
        assert_eq!(users.find(1).await.unwrap(), None);
        assert_eq!(users.count().await.unwrap(), 0);
        users.create(1, "Ann").await.unwrap();
        assert_eq!(users.find(1).await.unwrap().unwrap().name, "Ann");
        assert_eq!(users.count().await.unwrap(), 1);

        users.rename(1, "Bob").await.unwrap();
        assert_eq!(users.find(1).await.unwrap().unwrap().name, "Bob");

        // Bypasses the repository, so the test can see where a read comes from.
        let delete = sqlx::query("DELETE FROM users");
        delete.execute(&users.db).await.unwrap();
        assert_eq!(users.find(1).await.unwrap().unwrap().name, "Bob");
        assert_eq!(users.count().await.unwrap(), 1);
        users.find_reset(&1).await.unwrap();
        assert_eq!(users.find(1).await.unwrap(), None);
    }
}
