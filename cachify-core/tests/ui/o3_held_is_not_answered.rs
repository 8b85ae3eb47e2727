use cachify_core::once;

#[once(key = "report", on_unavailable = ())]
async fn report() {}

fn main() {}
