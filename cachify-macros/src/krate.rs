//! The path of the cachify crate that an expansion uses.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Ident, LitStr, Path};

/// The crates that export everything that an expansion names. The core comes last: an app with an
/// adapter may have the core as a dev-dependency, which looks the same from here.
const CRATES: [&str; 4] = [
    "cachify-axum",
    "cachify-poem",
    "cachify-warp",
    "cachify-core",
];

/// Returns the path of `__private`: in the crate that the user named, or else in the first of
/// [`CRATES`] that their `Cargo.toml` has, renamed or not.
pub(crate) fn private(named: Option<&Path>) -> TokenStream {
    if let Some(path) = named {
        return quote!(#path::__private);
    }
    let found = CRATES.iter().find_map(|&name| match crate_name(name) {
        Ok(FoundCrate::Itself) => Some(name.replace('-', "_")),
        Ok(FoundCrate::Name(name)) => Some(name),
        Err(_) => None,
    });
    // Without any of them, the compiler says that this crate is missing.
    let krate = Ident::new(
        found.as_deref().unwrap_or("cachify_core"),
        Span::call_site(),
    );
    quote!(::#krate::__private)
}

/// Parses the value of `crate = ".."`.
pub(crate) fn parse(value: &LitStr) -> syn::Result<Path> {
    value.parse_with(Path::parse_mod_style).map_err(|_| {
        syn::Error::new(
            value.span(),
            "`crate` takes the path of a cachify crate, such as \
             `crate = \"my_crate::cachify_core\"`",
        )
    })
}
