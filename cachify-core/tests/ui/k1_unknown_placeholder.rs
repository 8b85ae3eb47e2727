use cachify_core::cached;

#[cached(key = "user-{id}-{user_id}")]
async fn read_user(db: &str, user_id: i64) -> String {
    format!("{db}{user_id}")
}

#[cached(key = "total-{user_id}")]
async fn total() -> u64 {
    0
}

struct Repo;

impl Repo {
    #[cached(key = "find-{user_id}")]
    async fn find(&self) -> u64 {
        0
    }
}

#[cached(key = "total-{self.id}")]
async fn not_a_method(id: u64) -> u64 {
    id
}

fn main() {}
