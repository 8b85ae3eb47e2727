use cachify_core::{cached, key};

#[cached(key = "user-{tenant}{user_id}")]
async fn read_user(tenant: &str, user_id: i64) -> String {
    format!("{tenant}{user_id}")
}

fn main() {
    let (a, b) = (1, 2);
    key!("{a}{b}");
}
