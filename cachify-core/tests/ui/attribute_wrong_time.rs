use cachify_core::{Error, cached, locked, once};

#[cached(key = "a", ttl = "5 minutes")]
async fn words() -> u64 {
    0
}

#[cached(key = "a", ttl = "0s")]
async fn zero() -> u64 {
    0
}

#[cached(key = "a", ttl = 1.5)]
async fn float() -> u64 {
    0
}

#[cached(key = "a", ttl = 5, ttl_with = |_| cachify_core::Ttl::NEVER)]
async fn both() -> u64 {
    0
}

#[once(key = "a", ttl = "never")]
async fn forever() -> Result<(), Error> {
    Ok(())
}

#[locked(key = "a", ttl = "500ms")]
async fn short() -> Result<(), Error> {
    Ok(())
}

#[locked(key = "a", max_hold = 0)]
async fn no_hold() -> Result<(), Error> {
    Ok(())
}

fn main() {}
