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

#[cached(key = "a", ttl = -1)]
async fn negative() -> u64 {
    5
}

#[cached(key = "a", ttl = "-1s")]
async fn negative_text() -> u64 {
    5
}

#[locked(key = "a", wait = 99999999999999999999)]
async fn too_long() -> Result<u64, cachify_core::Error> {
    Ok(5)
}

#[cached(key = "a", ttl = "300000000000000d")]
async fn too_long_text() -> u64 {
    5
}

#[cached(key = "a", ttl = "1.5s")]
async fn half_a_second_text() -> u64 {
    5
}

#[cached(key = "a", ttl = 5u64)]
async fn suffix() -> u64 {
    5
}

fn main() {}
