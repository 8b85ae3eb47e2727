use std::time::Duration;

use cachify_core::cached;

struct Repo;

impl Repo {
    const TTL: Duration = Duration::from_secs(60);

    #[cached(key = "user-{id}")]
    async fn read_user(id: i64) -> i64 {
        Self::double(id)
    }

    #[cached(key = "order-{id}", ttl = Self::TTL)]
    async fn read_order(id: i64) -> i64 {
        id
    }

    fn double(id: i64) -> i64 {
        id * 2
    }
}

fn main() {}
