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

#[cached(key = "user")]
fn boxed() -> std::pin::Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async { 0 })
}

trait Reader {
    #[cached(key = "user")]
    async fn read(&self) -> u64;
}

fn main() {}
