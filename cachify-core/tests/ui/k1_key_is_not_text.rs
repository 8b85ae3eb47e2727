use cachify_core::{cached, key};

#[cached(key = user_id)]
async fn read_user(user_id: i64) -> i64 {
    user_id
}

#[cached]
async fn without(user_id: i64) -> i64 {
    user_id
}

#[cached(ttl = "5m")]
async fn with_ttl_only(user_id: i64) -> i64 {
    user_id
}

#[cached("user-{user_id}")]
async fn without_name(user_id: i64) -> i64 {
    user_id
}

fn bare(name: &str) {
    key!(name);
}

fn main() {}
