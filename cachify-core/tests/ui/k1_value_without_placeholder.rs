use cachify_core::key;

fn main() {
    let id = 1;
    key!("user-{id}", user_id = 1);
    key!("user-{id}", id);
    key!("user-{id}", id = 1, id = 2);
}
