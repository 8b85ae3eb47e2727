use cachify_core::{Error, cached, locked as exclusive};

#[cached(key = "user-{id}")]
#[exclusive(key = "user-{id}")]
async fn read_user(id: i64) -> Result<i64, Error> {
    Ok(id)
}

fn main() {}
