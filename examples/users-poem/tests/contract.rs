//! What every users app must do, on this one.

users_contract::contract!(env!("CARGO_BIN_EXE_users-poem"));
