use cachify_core::{Cachify, key};

struct DbError;

async fn find() -> Result<u32, DbError> {
    Err(DbError)
}

async fn read(cachify: &Cachify) -> Result<u32, DbError> {
    cachify.cached(&key!("row")).get_or_compute(find).await
}

fn main() {}
