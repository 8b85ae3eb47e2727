//! Tells the program which compiler made it.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    let version = version.unwrap_or_else(|_| "rustc of an unknown version".to_owned());
    println!("cargo::rustc-env=LOADTEST_RUSTC={version}");
}
