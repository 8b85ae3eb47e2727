use cachify_core::{cached, locked, once, pooled};

#[cached(key = "user", tttl = "5m")]
async fn misspelt() -> u64 {
    0
}

#[once(key = "report", wait = "1s")]
async fn impatient() -> Result<(), cachify_core::Error> {
    Ok(())
}

#[locked(key = "report", on_full = Ok(()))]
async fn not_a_pool() -> Result<(), cachify_core::Error> {
    Ok(())
}

#[pooled(key = "report", max = 1, max = 2)]
async fn twice() -> Result<(), cachify_core::Error> {
    Ok(())
}

#[locked(key = "report", wait)]
async fn how_long() -> Result<(), cachify_core::Error> {
    Ok(())
}

fn main() {}
