use cachify_core::{Cachify, Error};

async fn forget(cachify: &Cachify) -> Result<(), Error> {
    cachify.reset("user-1").await?;
    cachify.update("user-1", async { Ok(()) }).await
}

fn main() {}
