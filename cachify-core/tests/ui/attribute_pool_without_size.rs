use cachify_core::{Error, pooled};

#[pooled(key = "vendor")]
async fn endless() -> Result<(), Error> {
    Ok(())
}

#[pooled(key = "vendor", max = 0)]
async fn empty() -> Result<(), Error> {
    Ok(())
}

#[pooled(key = "vendor", max = 1)]
#[pooled(key = "vendors", max = 10)]
async fn two() -> Result<(), Error> {
    Ok(())
}

#[pooled(key = "vendor", max = 1, on_error = |_| Ok(()), map_err = drop)]
async fn answered_twice() -> Result<(), Error> {
    Ok(())
}

fn main() {}
