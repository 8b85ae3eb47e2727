use cachify_core::cached;

#[cached(key = "rates", stale = "never")]
async fn forever() -> u64 {
    0
}

#[cached(key = "rates", stale = 0)]
async fn nothing() -> u64 {
    0
}

#[cached(key = "rates", stale = "1h", soft_limit = "fast")]
async fn no_time() -> u64 {
    0
}

#[cached(key = "rates", soft_limit = "1s")]
async fn no_old_value() -> u64 {
    0
}

#[cached(key = "rates", hard_limit = "1s")]
async fn cannot_fail() -> u64 {
    0
}

#[cached(key = "rates", cache_err = |_| Some("1s"))]
async fn uncacheable() -> Result<u64, std::io::Error> {
    Ok(0)
}

fn main() {}
