use cachify_core::{cached, locked};

#[cached(key = "user")]
struct User;

#[cached(key = "user")]
const fn constant() -> u64 {
    0
}

#[cached(key = "user")]
unsafe fn dangerous() -> u64 {
    0
}

#[locked(key = "user")]
fn future() -> impl Future<Output = Result<(), cachify_core::Error>> {
    async { Ok(()) }
}

trait Reader {
    #[cached(key = "user")]
    async fn read(&self) -> u64;
}

fn main() {}
