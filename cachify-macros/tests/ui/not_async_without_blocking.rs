use renamed::{cached, once};

#[cached(key = "square-{id}")]
fn square(id: u64) -> u64 {
    id * id
}

#[once(key = "report", on_locked = Ok(()))]
fn report() -> Result<(), renamed::Error> {
    Ok(())
}

fn main() {}
