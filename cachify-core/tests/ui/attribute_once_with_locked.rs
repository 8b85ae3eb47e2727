use cachify_core::{Error, locked, once};

#[once(key = "report")]
#[locked(key = "report", wait = "1s")]
async fn report() -> Result<(), Error> {
    Ok(())
}

fn main() {}
