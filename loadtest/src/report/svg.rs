//! Charts, each as wide as a phone; the page puts them side by side where there is room.

mod bars;
mod curve;
mod fan_in;
mod histogram;
mod picture;
mod scale;
mod timeline;

pub(crate) use self::bars::bars;
pub(crate) use self::curve::curves;
pub(crate) use self::fan_in::fan_in;
pub(crate) use self::histogram::histogram;
pub(crate) use self::picture::{series, state};
pub(crate) use self::timeline::timeline;
