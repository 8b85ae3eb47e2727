use cachify_core::locked;

struct Order(String);

#[locked(
    key = "charge-{order.0}",
    on_locked = Err(order.0),
    on_error = |error| Err(format!("{}: {error}", order.0))
)]
async fn charge(order: Order) -> Result<Order, String> {
    Ok(order)
}

fn main() {}
