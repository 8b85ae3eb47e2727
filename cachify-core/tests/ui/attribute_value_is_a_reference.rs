use cachify_core::cached;

#[cached(key = "name-{id}")]
async fn name(id: usize, names: &[String]) -> &str {
    &names[id]
}

#[cached(key = "motto")]
async fn motto() -> Result<&'static str, &'static str> {
    Ok("less is more")
}

#[cached(key = "names")]
async fn names(all: &[String]) -> Option<Vec<&[String]>> {
    Some(vec![all])
}

struct User;

#[cached(key = "first")]
async fn first(users: &[User]) -> &User {
    &users[0]
}

fn main() {}
