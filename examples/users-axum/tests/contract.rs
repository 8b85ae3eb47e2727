//! The requirements on every users app, tested on this one.

users_contract::contract!(env!("CARGO_BIN_EXE_users-axum"));
