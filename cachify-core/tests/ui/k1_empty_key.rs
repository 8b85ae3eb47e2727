use cachify_core::{CacheKey, cached, key, locked};

#[cached(key = "")]
async fn read_user() -> u64 {
    0
}

#[locked(key = "")]
async fn write_user() -> Result<(), cachify_core::Error> {
    Ok(())
}

#[derive(CacheKey)]
#[key("")]
struct Nothing;

fn main() {
    key!("");
    key!();
}
