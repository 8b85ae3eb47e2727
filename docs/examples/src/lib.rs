//! The book's code: a file of `tests/` or `examples/` for each page, whose anchored parts the pages repeat.
