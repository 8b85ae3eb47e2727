//! The book's code: a file in `tests/` or `examples/` for each page, with anchored parts that the
//! pages repeat.
