use cachify_core::CacheKey;

#[derive(CacheKey)]
#[key("user-{id}")]
struct User {
    user_id: i64,
    name: String,
}

#[derive(CacheKey)]
#[key("user-{id}")]
struct Pair(i64, i64);

#[derive(CacheKey)]
struct Nameless {
    user_id: i64,
}

#[derive(CacheKey)]
#[key("choice-{id}")]
enum Choice {
    One { id: i64 },
}

fn main() {}
