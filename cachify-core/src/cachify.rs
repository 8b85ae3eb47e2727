//! The public handle and its builder.

mod builder;
mod handle;

pub use builder::CachifyBuilder;
pub use handle::Cachify;
