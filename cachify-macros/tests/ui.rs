//! Mistakes that only show without a feature of `cachify-core`. The others are in
//! `cachify-core/tests/ui`.

#[test]
fn mistakes_are_compile_errors() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
