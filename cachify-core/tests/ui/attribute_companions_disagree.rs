use cachify_core::{Cachify, Error, cached};

#[cached(key = "user", companion = one)]
#[cached(key = "users", companion = other)]
async fn named_twice() -> Result<(), Error> {
    Ok(())
}

#[cached(key = "user", with = near)]
#[cached(key = "users", with = far)]
async fn two_handles(near: &Cachify, far: &Cachify) -> Result<(), Error> {
    let _ = (near, far);
    Ok(())
}

fn main() {}
