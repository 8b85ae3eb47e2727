use cachify_core::{Error, cached};

#[cached(key = "user-{id}")]
async fn read_user(id: i64) -> Result<String, Error> {
    Ok(id.to_string())
}

async fn calls() {
    let _ = read_user::set(&1, 5).await;
    let _ = read_user::reset("one").await;
    let _ = read_user::reset().await;
    let _ = read_user::is_locked(&1).await;
}

fn main() {}
