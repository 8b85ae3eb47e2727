#![doc = include_str!("../README.md")]
#![allow(
    missing_docs,
    reason = "documented where users find them, by `cachify-core`"
)]

mod args;
mod expand;
mod function;
mod krate;
mod place;
mod template;
mod validate;

use proc_macro::TokenStream;
use syn::parse_macro_input;

#[proc_macro]
pub fn key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as expand::key::KeyInput);
    output(expand::key::key(&input))
}

#[proc_macro_derive(CacheKey, attributes(key))]
pub fn derive_cache_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as syn::DeriveInput);
    output(expand::key::derive(&input))
}

#[proc_macro_attribute]
pub fn cached(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(args::Kind::Cached, options.into(), &item.into()).into()
}

#[proc_macro_attribute]
pub fn once(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(args::Kind::Once, options.into(), &item.into()).into()
}

#[proc_macro_attribute]
pub fn locked(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(args::Kind::Locked, options.into(), &item.into()).into()
}

#[proc_macro_attribute]
pub fn pooled(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(args::Kind::Pooled, options.into(), &item.into()).into()
}

fn output(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(syn::Error::into_compile_error).into()
}
