use cachify_core::key;

fn main() {
    key!("user-{user_id}");
}
