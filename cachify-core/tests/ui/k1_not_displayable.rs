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

// As in poem.
struct Path<T>(T);

#[cached(key = "user-{id}", companion = none)]
async fn read_user(id: Path<i64>) -> i64 {
    id.0
}

fn main() {
    let order = Order { id: 1 };
    key!("order-{order}");
    key!("order-{order.number}");
}
