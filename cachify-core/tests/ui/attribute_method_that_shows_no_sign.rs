use cachify_core::locked;

struct Repo;

impl Repo {
    #[locked(key = "total-{id}")]
    async fn total(id: i64) -> Result<i64, cachify_core::Error> {
        Ok(id)
    }
}

fn main() {}
