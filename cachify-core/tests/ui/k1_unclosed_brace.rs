use cachify_core::{CacheKey, cached, key};

#[cached(key = "user-{user_id")]
async fn read_user(user_id: i64) -> i64 {
    user_id
}

#[derive(CacheKey)]
#[key("user-{user_id")]
struct User {
    user_id: i64,
}

fn main() {
    let user_id = 1;
    key!("user-{user_id");
    key!("user-user_id}");
    key!("user-{}");
    key!("user-{user_id:?}");
    key!("page-{header.accept-language}");
}
