//! Finds cachify for an expansion.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Ident, LitStr, Path};

/// Each of them exports all that an expansion names. The core comes last: an app may have an
/// adapter, and the core for its tests only, which cannot be told from here.
const CRATES: [&str; 4] = [
    "cachify-axum",
    "cachify-poem",
    "cachify-warp",
    "cachify-core",
];

/// The path to `__private`: in the crate that the user named, else in whichever of ours their
/// `Cargo.toml` has, renamed or not.
pub(crate) fn private(named: Option<&Path>) -> TokenStream {
    if let Some(path) = named {
        return quote!(#path::__private);
    }
    let found = CRATES.iter().find_map(|&name| match crate_name(name) {
        Ok(FoundCrate::Itself) => Some(name.replace('-', "_")),
        Ok(FoundCrate::Name(name)) => Some(name),
        Err(_) => None,
    });
    // With none of them, the compiler says which crate is missing.
    let krate = Ident::new(
        found.as_deref().unwrap_or("cachify_core"),
        Span::call_site(),
    );
    quote!(::#krate::__private)
}

/// The value of `crate = ".."`.
pub(crate) fn parse(value: &LitStr) -> syn::Result<Path> {
    value.parse_with(Path::parse_mod_style).map_err(|_| {
        syn::Error::new(
            value.span(),
            "`crate` takes the path of a cachify crate, such as `crate = \"my_crate::cachify_core\"`",
        )
    })
}
