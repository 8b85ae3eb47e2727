use cachify_core::cached;

#[cached(key = "user-{id}", with = id)]
async fn read_user(id: i64) -> i64 {
    id
}

fn main() {}
