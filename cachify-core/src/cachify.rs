//! The handle, and how to get one.

mod builder;
mod handle;

pub use builder::CachifyBuilder;
pub use handle::Cachify;
