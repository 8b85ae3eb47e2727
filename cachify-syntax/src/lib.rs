#![doc = include_str!("../README.md")]
#![doc(test(attr(deny(warnings))))]

pub mod template;
pub mod time;
