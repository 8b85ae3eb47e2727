//! `#[once]`, `#[locked]` and `#[pooled]`: one shape, since a permit is held as a lock is.

use proc_macro2::{Span, TokenStream};
use quote::quote;

use super::Context;
use crate::args::{Layer, What};

/// Runs the work under the lock or permit.
pub(super) fn body(
    context: &Context,
    layer: &Layer,
    work: &TokenStream,
    sync: bool,
) -> TokenStream {
    let private = &context.private;
    let (request, under) = request(context, layer);
    let acquired = context.outcome(&quote!(__cachify_request.acquire()), sync);
    let held = context.outcome(&quote!(#private::#under(holder, #work)), sync);
    let contended = contended(context, layer).map(|answer| {
        quote!(::core::result::Result::Err(error) if error.is_contended() => return #answer,)
    });
    let failed = failed(context, layer);
    quote! {
        let __cachify_request = #request;
        let error = match #acquired {
            ::core::result::Result::Ok(holder) => match #held {
                ::core::result::Result::Ok(returned) => return returned,
                ::core::result::Result::Err(error) => error,
            },
            #contended
            ::core::result::Result::Err(error) => error,
        };
        #failed
    }
}

/// How the lock or permit is taken, and the function that works under it.
fn request(context: &Context, layer: &Layer) -> (TokenStream, TokenStream) {
    let private = &context.private;
    let (source, key) = (context.source(layer), context.key(&layer.template));
    let times = [
        ("ttl", &layer.ttl),
        ("wait", &layer.wait),
        ("max_hold", &layer.max_hold),
    ];
    let options = times.into_iter().filter_map(|(name, time)| {
        let name = syn::Ident::new(name, Span::call_site());
        let time = time.as_ref()?.tokens(private);
        Some(quote!(.#name(#time)))
    });
    if layer.what == What::Pooled {
        let max = &layer.max;
        (
            quote!(#private::pool(#source, &#key, #max) #(#options)*),
            quote!(under_permit),
        )
    } else {
        (
            quote!(#private::lock(#source, &#key) #(#options)*),
            quote!(under_guard),
        )
    }
}

/// What is returned when the lock is held or the pool is full, unless that is an error like others.
fn contended(context: &Context, layer: &Layer) -> Option<TokenStream> {
    match &layer.on_contended {
        Some(answer) => Some(quote!(#answer)),
        // The loser is told in any case: what answers for a backend that is away must not answer for this.
        None => layer.on_unavailable.as_ref().map(|_| told(context, layer)),
    }
}

/// What is returned for every other error.
fn failed(context: &Context, layer: &Layer) -> TokenStream {
    let private = &context.private;
    let Some(answer) = &layer.on_unavailable else {
        return told(context, layer);
    };
    let returns = &context.returns;
    let rest = if layer.on_error.is_some() || layer.map_err.is_some() {
        told(context, layer)
    } else if context.function.returns_impl() {
        quote!(#answer)
    } else {
        quote! {
            #[allow(unused_imports)]
            use #private::{ViaAnswer as _, ViaReport as _};
            (&&#private::Returns::<#returns>::NEW).report_or(error, || #answer)
        }
    };
    quote! {
        if #private::is_unavailable(&error) {
            return #answer;
        }
        #rest
    }
}

/// The error, made into what the function returns.
fn told(context: &Context, layer: &Layer) -> TokenStream {
    let private = &context.private;
    if let Some(answer) = &layer.on_error {
        return quote!(#private::on_error(#answer, error));
    }
    if let Some(map) = &layer.map_err {
        return quote!(#private::map_err(#map, error));
    }
    context.call("report", &quote!(error))
}
