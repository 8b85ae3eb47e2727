use cachify_core::cached;

#[cached(key = "list-{page}", page = pages.unwrap_or(1), companion = none)]
async fn misspelt(page: Option<u32>) -> u32 {
    page.unwrap_or(1)
}

#[cached(key = "find-{name}", name = name.unwrap_or_default(), companion = none)]
async fn moved(name: Option<String>) -> usize {
    name.map_or(0, |name| name.len())
}

fn main() {}
