#![deny(let_underscore_drop, unused_must_use)]

use cachify_core::{Cachify, Error, key};

async fn not_bound(cachify: &Cachify) -> Result<(), Error> {
    cachify.lock(&key!("door")).acquire().await?;
    cachify.pool(&key!("door"), 1).acquire().await?;
    let _ = cachify.lock(&key!("door")).acquire().await?;
    let _ = cachify.pool(&key!("door"), 1).acquire().await?;
    Ok(())
}

fn main() {}
