use cachify_core::cached;

struct User {
    id: i64,
}

#[cached(key = "user", companion = none)]
async fn read_user() -> Result<User, String> {
    Ok(User { id: 1 })
}

#[cached(key = "page")]
async fn page() -> impl Clone {
    1
}

fn main() {}
