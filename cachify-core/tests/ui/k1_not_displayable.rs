use cachify_core::{CacheKey, cached, key};

struct Order {
    id: u32,
}

#[cached(key = "order-{order}")]
async fn read_order(order: &Order) -> u32 {
    order.id
}

#[derive(CacheKey)]
#[key("page-{page}")]
struct Page {
    page: Option<u32>,
}

fn main() {
    let order = Order { id: 1 };
    key!("order-{order}");
    key!("order-{order.number}");
}
