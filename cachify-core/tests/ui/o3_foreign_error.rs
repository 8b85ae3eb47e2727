use cachify_core::{locked, once};

#[derive(Debug)]
struct ChargeError;

#[locked(key = "charge")]
async fn charge() -> Result<u64, ChargeError> {
    Err(ChargeError)
}

#[once(key = "write", on_locked = Ok(()))]
async fn write() -> std::io::Result<()> {
    Ok(())
}

fn main() {}
