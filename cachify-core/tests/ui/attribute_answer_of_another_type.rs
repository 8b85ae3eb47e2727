use cachify_core::{Cachify, Error, cached, locked, pooled};

#[locked(key = "held", on_locked = 5)]
async fn held() -> Result<u8, Error> {
    Ok(1)
}

#[pooled(key = "vendor", max = 10, on_full = Err("full"), on_error = |error| error.to_string())]
async fn vendor() -> Result<u8, &'static str> {
    Ok(1)
}

#[locked(key = "mapped", map_err = std::io::Error::other)]
async fn mapped() -> u8 {
    1
}

#[locked(key = "away", on_locked = Ok(1), on_unavailable = 7)]
async fn away() -> Result<u8, Error> {
    Ok(1)
}

#[pooled(key = "many", max = "10")]
async fn many() -> Result<u8, Error> {
    Ok(1)
}

#[cached(key = "jitter", jitter = 1, companion = none)]
async fn jitter() -> u8 {
    1
}

#[cached(key = "handle", with = &name.len())]
#[locked(key = "handle", with = Cachify::memory)]
async fn handle(name: &str) -> Result<u8, Error> {
    let _ = name;
    Ok(1)
}

fn main() {}
