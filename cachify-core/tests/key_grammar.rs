//! The macros and the run time read templates by the same grammar.

#[test]
fn k1_macros_and_run_time_share_one_grammar() {
    let ours = include_str!("../src/key/parse.rs");
    let macros = include_str!("../../cachify-macros/src/parse.rs");
    assert!(
        ours == macros,
        "copy cachify-core/src/key/parse.rs over cachify-macros/src/parse.rs"
    );
}
