//! The macros of cachify. Use them through `cachify-core` or through an adapter.

mod args;
mod expand;
mod function;
mod krate;
mod parse;
mod template;
mod validate;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Renders a key: a template whose placeholders are filled as in `format!`, checked when it is compiled.
///
/// A placeholder takes the value of that name where the macro stands, or the expression given for it. `{order.id}` takes a field. What a template
/// may say, and why different values never make the same key, is told at `KeyTemplate`.
///
/// # Examples
///
/// ```
/// use cachify_core::key;
///
/// struct Order {
///     id: u32,
/// }
///
/// let user_id = 7;
/// let order = Order { id: 3 };
/// assert_eq!(key!("read_user-{user_id}").as_str(), "read_user-7");
/// assert_eq!(key!("order-{order.id}").as_str(), "order-3");
/// assert_eq!(key!("list-{page}", page = 1 + 1).as_str(), "list-2");
/// ```
#[proc_macro]
pub fn key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as expand::key::KeyInput);
    output(expand::key::key(&input))
}

/// Makes a struct with named fields a `CacheKey`: `#[key("update-user-{user_id}")]` says which of its fields make the key.
///
/// # Examples
///
/// ```
/// use cachify_core::CacheKey;
///
/// #[derive(CacheKey)]
/// #[key("update-user-{user_id}")]
/// struct UpdateUser {
///     user_id: i64,
/// }
///
/// assert_eq!(UpdateUser { user_id: 7 }.key().as_str(), "update-user-7");
/// ```
#[proc_macro_derive(CacheKey, attributes(key))]
pub fn derive_cache_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as syn::DeriveInput);
    output(expand::key::derive(&input))
}

/// Caches what an async function returns, under a key made of its arguments.
#[proc_macro_attribute]
pub fn cached(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(args::What::Cached, options.into(), item.into()).into()
}

/// Runs an async function unless somebody else is running it for the same key.
#[proc_macro_attribute]
pub fn once(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(args::What::Once, options.into(), item.into()).into()
}

/// Runs an async function under the lock of a key.
#[proc_macro_attribute]
pub fn locked(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(args::What::Locked, options.into(), item.into()).into()
}

/// Runs an async function at most so many times at once for a key.
#[proc_macro_attribute]
pub fn pooled(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(args::What::Pooled, options.into(), item.into()).into()
}

fn output(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(syn::Error::into_compile_error).into()
}
