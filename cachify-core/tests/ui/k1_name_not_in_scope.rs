use cachify_core::key;

fn main() {
    key!("user-{user_id}");
    let name = "Ann";
    key!("user-{nam}");
    let _ = name;
}
