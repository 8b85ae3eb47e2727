use cachify_core::{Cachify, Ttl, key};

fn times(cachify: &Cachify, seconds: u32) {
    let _ = cachify.cached(&key!("row")).ttl(-1);
    let _ = cachify.cached(&key!("row")).ttl(1.5);
    let _ = cachify.cached(&key!("row")).ttl(seconds);
    let _ = cachify.lock(&key!("row")).wait(Ttl::NEVER);
}

fn main() {}
