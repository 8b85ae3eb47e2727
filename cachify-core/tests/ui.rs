//! Mistakes in macros, and the compiler's messages. After a change of wording: `TRYBUILD=overwrite
//! cargo test --test ui`.

#[test]
fn k1_mistakes_are_compile_errors() {
    trybuild::TestCases::new().compile_fail("tests/ui/k1_*.rs");
}

#[test]
fn o3_who_cannot_report_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/o3_*.rs");
}

#[test]
fn mistakes_in_attributes_are_compile_errors() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/attribute_*.rs");
    cases.compile_fail("tests/ui/companion_*.rs");
}

#[test]
fn mistakes_in_calls_are_compile_errors() {
    trybuild::TestCases::new().compile_fail("tests/ui/call_*.rs");
}
