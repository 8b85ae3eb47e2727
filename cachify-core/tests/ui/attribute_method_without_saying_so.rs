use cachify_core::cached;

struct Repo;

impl Repo {
    #[cached(key = "user-{id}")]
    async fn read_user(id: i64) -> i64 {
        Self::double(id)
    }

    fn double(id: i64) -> i64 {
        id * 2
    }
}

fn main() {}
