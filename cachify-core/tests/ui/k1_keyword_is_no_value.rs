use cachify_core::{CacheKey, cached, key};

struct Order {
    id: u8,
}

impl Order {
    #[cached(key = "order-{Self}")]
    async fn read(&self) -> u8 {
        self.id
    }
}

#[cached(key = "order-{order.self}")]
async fn read_order(order: &Order) -> u8 {
    order.id
}

#[derive(CacheKey)]
#[key("page-{crate}")]
struct Page;

fn main() {
    let order = Order { id: 1 };
    key!("order-{super}");
    key!("order-{_}");
    key!("order-{order.crate}");
    key!("order-{order.²}");
}
