//! The book's code: a file of `tests/` or `examples/` for each page, which pages include by anchors.
