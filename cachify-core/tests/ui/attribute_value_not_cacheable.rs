use cachify_core::cached;

struct User {
    id: i64,
}

#[cached(key = "user", companion = none)]
async fn read_user() -> Result<User, String> {
    Ok(User { id: 1 })
}

#[cached(key = "users")]
#[cached(key = "all-users")]
async fn read_users() -> Result<Vec<User>, String> {
    Ok(vec![User { id: 1 }])
}

#[cached(key = "file", cache_if = |file| file.is_ok(), companion = none)]
async fn open_file() -> std::rc::Rc<Result<u8, String>> {
    std::rc::Rc::new(Ok(1))
}

#[cached(key = "page")]
async fn page() -> impl Clone {
    1
}

fn main() {}
