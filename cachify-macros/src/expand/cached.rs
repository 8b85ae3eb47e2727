//! The expansion of `#[cached]`.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::spanned::Spanned as _;

use super::context::Context;
use crate::args::Layer;

/// Expands to a body that looks in memory first. A hit there costs only the key and a clone of the
/// value.
pub(super) fn body(
    context: &Context,
    layer: &Layer,
    inner: &TokenStream,
    work: &TokenStream,
    sync: bool,
) -> TokenStream {
    let private = &context.private;
    let tag = context.tag(&context.returns);
    let source = context.source(layer);
    let key = context.key(layer);
    let tagged = context.tagged();
    // A value that may be refreshed early is looked at with its times.
    let begin = match &layer.refresh.early {
        Some(_) => "begin_early",
        None => "begin",
    };
    let begin = context.call(begin, &quote!(#tagged, #source, #key));
    let mut cached = policy(
        layer,
        private,
        &quote!(__cachify_tag),
        quote!(__cachify_miss),
    );
    if let Some(limit) = &layer.refresh.hard_limit {
        let limit = limit.tokens(private);
        cached = quote!(#cached.hard_limit(#limit));
    }
    if let Some(choose) = &layer.cache_err {
        cached = context.call_at(
            choose.span(),
            "cache_err",
            &quote!(#tagged, #cached, #choose),
        );
    }
    let value = if is_owned(context, layer, sync) {
        in_background(context, layer, &cached, inner)
    } else {
        let finish = context.call(finish(layer), &quote!(#tagged, #cached, #work));
        context.outcome(&finish, sync)
    };
    quote! {
        let __cachify_tag = #tag;
        let __cachify_miss = match #begin {
            ::core::ops::ControlFlow::Break(__cachify_hit) => return __cachify_hit,
            ::core::ops::ControlFlow::Continue(__cachify_miss) => __cachify_miss,
        };
        #value
    }
}

/// Returns the function that finishes a read.
fn finish(layer: &Layer) -> &'static str {
    match layer.cache_err {
        Some(_) => "finish_chosen",
        None => "finish",
    }
}

/// Returns whether the body may run in the background, unless its future is not `Send`: what it
/// uses is owned.
pub(super) fn is_owned(context: &Context, layer: &Layer, sync: bool) -> bool {
    let function = &context.function;
    let refreshes = layer.refresh.serves_old_values();
    let options = layer.value_options().chain(&layer.cache_err);
    let borrows = options
        .into_iter()
        .any(|option| function.is_used_by(option));
    refreshes && !sync && !borrows && !context.is_method() && function.is_owned()
}

/// Expands to the value of a function whose body may be refreshed in the background. The body is a
/// function of its own, since only then the compiler knows whether its future is `Send`.
fn in_background(
    context: &Context,
    layer: &Layer,
    cached: &TokenStream,
    inner: &TokenStream,
) -> TokenStream {
    let private = &context.private;
    let function = &context.function;
    let sig = &function.item.sig;
    let (inputs, output) = (&sig.inputs, &sig.output);
    let arguments = function.bindings.iter().map(|binding| &binding.ident);
    let tagged = context.tagged();
    let finish = Ident::new(finish(layer), context.returns_span());
    let work = quote!(#private::Work::new(__cachify_body(#(#arguments),*)));
    let finish = context.outcome(
        &quote!(__cachify_way.#finish(#tagged, #cached, __cachify_work)),
        false,
    );
    quote! {{
        async fn __cachify_body(#inputs) #output { #inner }
        #[allow(unused_imports)]
        use #private::{ViaBackground as _, ViaCaller as _};
        let __cachify_work = #work;
        let __cachify_way = (&&__cachify_work).way();
        #finish
    }}
}

/// Adds the options of a layer to a `Cached`, except those about errors.
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
    if let Some(window) = &layer.refresh.stale {
        let window = window.tokens(private);
        cached = quote!(#cached.stale(#window));
    }
    if let Some(beta) = &layer.refresh.early {
        cached = quote!(#cached.refresh_early(#beta));
    }
    if let Some(limit) = &layer.refresh.soft_limit {
        let limit = limit.tokens(private);
        cached = quote!(#cached.soft_limit(#limit));
    }
    if let Some(ttl) = &layer.ttl_with {
        cached = quote!(#private::ttl_with(#tag, #cached, #ttl));
    }
    if let Some(condition) = &layer.cache_if {
        cached = quote!(#private::cache_if(#tag, #cached, #condition));
    }
    if let Some(ttl) = &layer.none_ttl {
        let ttl = ttl.tokens(private);
        cached = quote!(#cached.none_ttl(#ttl));
    }
    cached
}
