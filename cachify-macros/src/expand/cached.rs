//! The expansion of `#[cached]`.

use proc_macro2::TokenStream;
use quote::quote;

use super::context::Context;
use crate::args::Layer;

/// Expands to a body that looks in memory first. A hit there costs only the key and a clone of the
/// value.
pub(super) fn body(
    context: &Context,
    layer: &Layer,
    work: &TokenStream,
    sync: bool,
) -> TokenStream {
    let private = &context.private;
    let tag = context.tag(&context.returns);
    let source = context.source(layer);
    let key = context.key(layer);
    let tagged = context.tagged();
    let begin = context.call("begin", &quote!(#tagged, #source, #key));
    let cached = policy(
        layer,
        private,
        &quote!(__cachify_tag),
        quote!(__cachify_miss),
    );
    let finish = context.call("finish", &quote!(#tagged, #cached, #work));
    let value = context.outcome(&finish, sync);
    quote! {
        let __cachify_tag = #tag;
        let __cachify_miss = match #begin {
            ::core::ops::ControlFlow::Break(__cachify_hit) => return __cachify_hit,
            ::core::ops::ControlFlow::Continue(__cachify_miss) => __cachify_miss,
        };
        #value
    }
}

/// Adds the options of a layer to a `Cached`.
pub(super) fn policy(
    layer: &Layer,
    private: &TokenStream,
    tag: &TokenStream,
    mut cached: TokenStream,
) -> TokenStream {
    if let Some(ttl) = &layer.ttl {
        let ttl = ttl.tokens(private);
        cached = quote!(#cached.ttl(#ttl));
    }
    if let Some(jitter) = &layer.jitter {
        cached = quote!(#cached.jitter(#jitter));
    }
    if let Some(ttl) = &layer.ttl_with {
        cached = quote!(#private::ttl_with(#tag, #cached, #ttl));
    }
    if let Some(condition) = &layer.cache_if {
        cached = quote!(#private::cache_if(#tag, #cached, #condition));
    }
    cached
}
