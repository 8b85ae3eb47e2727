//! The macros of cachify. Use them through `cachify-core` or through an adapter.
