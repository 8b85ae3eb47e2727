use cachify_core::{Error, cached, locked};

#[cached(key = "list-{page}", page = page.map(|page| page + 1))]
async fn no_text(page: Option<u32>) -> u32 {
    page.unwrap_or(1)
}

#[cached(key = "list-{page}", pag = page.unwrap_or(1))]
async fn no_such_placeholder(page: Option<u32>) -> u32 {
    page.unwrap_or(1)
}

#[locked(key = "list-{page}", page)]
async fn no_value(page: Option<u32>) -> Result<u32, Error> {
    Ok(page.unwrap_or(1))
}

#[cached(key = "list-{page}", page = 1, page = 2)]
async fn twice() -> u32 {
    1
}

fn main() {}
