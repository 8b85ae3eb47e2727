use cachify_core::{Error, cached, locked as exclusive};

mod swapped {
    pub use cachify_core::cached as locked;
}

#[cached(key = "user-{id}")]
#[exclusive(key = "user-{id}")]
async fn read_user(id: i64) -> Result<i64, Error> {
    Ok(id)
}

#[cached(key = "order-{id}")]
#[swapped::locked(key = "order-{id}")]
async fn read_order(id: i64) -> Result<i64, Error> {
    Ok(id)
}

fn main() {}
