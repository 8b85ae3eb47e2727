use cachify_core::{Error, locked};

trait Charge {
    async fn charge(&self, id: u8) -> Result<u8, Error>;
}

struct Shop;

impl Charge for Shop {
    #[locked(key = "charge-{id}")]
    async fn charge(&self, id: u8) -> Result<u8, Error> {
        Ok(id)
    }
}

fn main() {}
