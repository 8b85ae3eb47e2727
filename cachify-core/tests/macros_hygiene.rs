//! The macros among user items of the same names, and inside of the user's own macros.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::Duration;

use cachify_core::{Cachify, Error};

/// Every name that an expansion might use without a full path.
mod taken {
    #![allow(non_camel_case_types, non_upper_case_globals, dead_code)]

    pub(super) mod std {}
    pub(super) mod core {}
    pub(super) mod cachify_core {}
    pub(super) struct Result;
    pub(super) struct Option;
    pub(super) struct Box;
    pub(super) struct Some;
    pub(super) struct None;
    pub(super) struct Ok;
    pub(super) struct Err;
    pub(super) struct Sized;
    pub(super) struct Key;
    pub(super) struct Error;
    pub(super) struct Send;
    pub(super) struct Clone;
    pub(super) struct Duration;
    pub(super) struct bool;
    pub(super) struct usize;
    pub(super) struct u64;
    pub(super) const key: () = ();
    pub(super) const hit: () = ();
    pub(super) const miss: () = ();
    pub(super) const error: () = ();
    pub(super) const found: () = ();
    pub(super) const returned: () = ();
}

mod crowded {
    #[allow(unused_imports, reason = "that none of it is used is the point")]
    use super::taken::*;
    use ::cachify_core::{cached, locked, once, pooled};

    #[cached(key = "shadowed-{id}", ttl = "5m")]
    #[cached(key = "shadowed-inner-{id}", ttl = 300, cache_if = |it| *it > 0)]
    pub(super) async fn shadowed(id: i64) -> ::core::result::Result<i32, String> {
        i32::try_from(id).map_err(|wrong| wrong.to_string())
    }

    #[once(key = "once-{id}", on_locked = 1, on_unavailable = 2)]
    pub(super) async fn runs_once(id: i64) -> i64 {
        id
    }

    #[locked(key = "locked-{id}", wait = "1s")]
    #[pooled(key = "pooled-{id}", max = 1, ttl = "1m")]
    pub(super) async fn held(id: i64) -> ::core::result::Result<i64, ::cachify_core::Error> {
        ::core::result::Result::Ok(id)
    }

    #[locked(key = "locked-{id}", wait = "1s", on_error = |_| 3)]
    pub(super) fn blocks(id: i64) -> i64 {
        id
    }
}

#[tokio::test]
async fn names_that_an_expansion_uses_may_be_taken() {
    use crowded::{blocks, held, runs_once, shadowed};

    let call = async {
        assert_eq!(shadowed(7).await, Ok(7));
        shadowed::set(&7, 8).await.unwrap();
        assert_eq!(shadowed(7).await, Ok(8));
        assert_eq!(shadowed::get(&7).await.unwrap(), Some(8));
        shadowed::reset(&7).await.unwrap();
        assert_eq!(runs_once(7).await, 7);
        assert!(!runs_once::is_locked(&7).await.unwrap());
        assert_eq!(held(7).await.unwrap(), 7);
        assert_eq!(held::in_use(&7).await.unwrap(), 0);
        assert!(!held::force_release(&7).await.unwrap());
    };
    Cachify::memory().scope(call).await;
    Cachify::memory().sync_scope(|| {
        assert_eq!(blocks(7), 7);
        assert!(!blocks::is_locked(&7).unwrap());
    });
}

/// Parameters named like every other name in an expansion.
mod parameters {
    use cachify_core::{Cachify, Error, cached, locked};

    #[cached(
        key = "{key}-{value}-{new_value}-{cachify}-{handle}-\
               {hit}-{miss}-{found}-{returned}-{error}",
        with = app
    )]
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn everything(
        app: &Cachify,
        key: u8,
        value: u8,
        new_value: u8,
        cachify: u8,
        handle: u8,
        hit: u8,
        miss: u8,
        found: u8,
        returned: u8,
        error: u8,
    ) -> u8 {
        key + value + new_value + cachify + handle + hit + miss + found + returned + error
    }

    #[locked(
        key = "{key}-{error}-{returned}",
        with = app,
        on_locked = Ok(*key),
        on_error = |_| Ok(error + returned)
    )]
    pub(super) async fn under_lock(
        app: &Cachify,
        key: &u8,
        error: u8,
        returned: u8,
    ) -> Result<u8, Error> {
        Ok(*key + error + returned)
    }
}

#[tokio::test]
async fn parameters_may_have_any_name() {
    use parameters::{everything, under_lock};

    let app = Cachify::memory();
    assert_eq!(everything(&app, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1).await, 10);
    everything::set(&app, &1, &1, &1, &1, &1, &1, &1, &1, &1, &1, 20)
        .await
        .unwrap();
    let stored = everything::get(&app, &1, &1, &1, &1, &1, &1, &1, &1, &1, &1);
    assert_eq!(stored.await.unwrap(), Some(20));
    assert_eq!(under_lock(&app, &1, 2, 3).await.unwrap(), 6);
    assert!(!under_lock::is_locked(&app, &1, &2, &3).await.unwrap());
}

mod raw {
    use cachify_core::{Error, cached, key, locked};

    #[cached(key = "raw-{type}-{match.0}")]
    pub(super) async fn r#match(r#type: &str, r#match: (u8, u8)) -> String {
        format!("{type}{}", r#match.1, r#type = r#type)
    }

    pub(super) struct Raw {
        pub(super) r#where: u8,
    }

    /// Made by `Path(r#type)`.
    #[cached(key = "raw-{type}-{fn.where}")]
    pub(super) async fn in_a_pattern((r#type,): (u8,), [r#fn]: [Raw; 1]) -> u8 {
        r#type + r#fn.r#where
    }

    impl Raw {
        #[locked(key = "raw-{self.where}")]
        pub(super) async fn r#move(&self) -> Result<bool, Error> {
            self.move_is_locked().await
        }
    }

    #[cached(key = "größe-{größe}-日本-{{{größe}}}-100%")]
    pub(super) async fn größe(größe: &str) -> String {
        key!("größe-{größe}-日本-{{{größe}}}-100%")
            .as_str()
            .to_owned()
    }
}

#[tokio::test]
async fn k1_keywords_unicode_and_braces() {
    use raw::{Raw, größe, in_a_pattern, r#match};

    let call = async {
        assert_eq!(r#match("card", (1, 2)).await, "card2");
        assert_eq!(
            r#match::get("card", &(1, 3)).await.unwrap().unwrap(),
            "card2"
        );
        assert!(Raw { r#where: 1 }.r#move().await.unwrap());
        assert_eq!(in_a_pattern((1,), [Raw { r#where: 2 }]).await, 3);
        assert_eq!(in_a_pattern::get(&1, &2).await.unwrap(), Some(3));
        let key = größe("ü").await;
        assert_eq!(key, "größe-ü-日本-%x7Bü%x7D-100%x25");
        assert_eq!(größe::get("ü").await.unwrap(), Some(key));
    };
    Cachify::memory().scope(call).await;
}

macro_rules! readers {
    ($(
        $(#[$attr:meta])*
        $vis:vis fn $name:ident($param:ident: $ty:ty, $other:ident: $other_ty:ty) -> $returns:ty,
            $key:expr, $ttl:expr, $max:expr, $with:expr, $body:expr;
    )*) => {$(
        $(#[$attr])*
        #[cachify_core::cached(key = $key, ttl = $ttl, jitter = 0.5, with = $with)]
        #[cachify_core::pooled(key = "pool", max = $max, with = $with)]
        $vis async fn $name($param: $ty, $other: $other_ty) -> $returns {
            $body
        }
    )*};
}

/// An attribute on an item that was passed to a macro whole.
macro_rules! whole {
    ($item:item) => {
        #[cachify_core::cached(key = "whole-{id}")]
        $item
    };
}

/// The template comes from the macro, the parameter from its caller.
macro_rules! by_name {
    ($name:ident, $id:ident, $body:expr) => {
        #[cachify_core::cached(key = "by_name-{id}")]
        async fn $name($id: i64) -> i64 {
            $body
        }
    };
}

/// Everything but the body comes from the macro.
macro_rules! fixed {
    ($name:ident => $body:expr) => {
        #[cachify_core::locked(key = "fixed-{id}", on_locked = Ok(id))]
        async fn $name(id: i64) -> Result<i64, cachify_core::Error> {
            let _ = id;
            Ok($body)
        }
    };
}

readers! {
    /// Reads.
    pub(crate) fn reads(id: &str, app: &Cachify) -> Result<String, cachify_core::Error>,
        "reads-{id}", "5m", 3, app, Ok(id.to_owned());
    fn lists(id: String, app: Cachify) -> Result<Vec<u8>, Error>,
        "lists-{id}", Duration::from_secs(3), 3, app, Ok(vec![]);
}

whole! {
    /// Whole.
    pub(crate) async fn whole(id: i64) -> i64 {
        id
    }
}

by_name!(named, id, id + 1);
fixed!(fixed_body => 5);

#[tokio::test]
async fn functions_may_come_from_macros() {
    let app = Cachify::memory();
    assert_eq!(reads("x", &app).await.unwrap(), "x");
    assert_eq!(reads::get(&app, "x").await.unwrap().as_deref(), Some("x"));
    reads::set(&app, "x", "y".to_owned()).await.unwrap();
    assert_eq!(reads("x", &app).await.unwrap(), "y");
    assert_eq!(reads::in_use(&app).await.unwrap(), 0);
    assert!(lists("x".to_owned(), app.clone()).await.unwrap().is_empty());
    lists::reset(&app, "x").await.unwrap();
    let call = async {
        assert_eq!(whole(1).await, 1);
        assert_eq!(whole::get(&1).await.unwrap(), Some(1));
        assert_eq!(named(1).await, 2);
        named::reset(&1).await.unwrap();
        assert_eq!(named::get(&1).await.unwrap(), None);
        assert_eq!(fixed_body(1).await.unwrap(), 5);
        assert!(!fixed_body::is_locked(&1).await.unwrap());
    };
    app.scope(call).await;
}
