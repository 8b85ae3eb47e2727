use cachify_core::{locked, once, pooled};

#[once(key = "report", on_locked = ())]
async fn report() {}

#[locked(key = "total")]
async fn total() -> u64 {
    0
}

#[pooled(key = "vendor", max = 10, on_full = None)]
async fn vendor() -> Option<u64> {
    None
}

fn main() {}
