//! The expansions of `#[once]`, `#[locked]` and `#[pooled]`. They have one shape, since a permit is
//! held as a lock is.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{Expr, Ident};

use super::context::Context;
use crate::args::{Kind, Layer};

/// Expands to a body that runs the work under the lock or permit.
pub(super) fn body(
    context: &Context,
    layer: &Layer,
    work: &TokenStream,
    sync: bool,
) -> TokenStream {
    let private = &context.private;
    let (request, under) = request(context, layer);
    let acquired = context.outcome(&quote!(__cachify_request.acquire()), sync);
    let held = context.outcome(&quote!(#private::#under(__cachify_holder, #work)), sync);
    let contended = contended(context, layer).map(|answer| {
        quote! {
            ::core::result::Result::Err(__cachify_error) if __cachify_error.is_contended() => {
                #answer
            }
        }
    });
    let failed = failed(context, layer);
    quote! {
        let __cachify_request = #request;
        let __cachify_error = match #acquired {
            ::core::result::Result::Ok(__cachify_holder) => match #held {
                ::core::result::Result::Ok(__cachify_returned) => return __cachify_returned,
                ::core::result::Result::Err(__cachify_error) => __cachify_error,
            },
            #contended
            ::core::result::Result::Err(__cachify_error) => __cachify_error,
        };
        #failed
    }
}

/// Expands to returning the value of an option. The value gets a statement of its own, since
/// `return ()` causes a warning.
fn answer(answer: &Expr) -> TokenStream {
    let span = answer.span().resolved_at(Span::call_site());
    let name = Ident::new("__cachify_answer", span);
    quote!(let #name = #answer; return #name;)
}

/// Expands to the lock or pool with its options, and names the function that runs the work under
/// it.
fn request(context: &Context, layer: &Layer) -> (TokenStream, TokenStream) {
    let private = &context.private;
    let (source, key) = (context.source(layer), context.key(layer));
    let times = [
        ("ttl", &layer.ttl),
        ("wait", &layer.wait),
        ("max_hold", &layer.max_hold),
    ];
    let options = times.into_iter().filter_map(|(name, time)| {
        let name = Ident::new(name, Span::call_site());
        let time = time.as_ref()?.tokens(private);
        Some(quote!(.#name(#time)))
    });
    let (request, under) = match layer.kind {
        Kind::Pooled => {
            let max = &layer.max;
            (quote!(pool(#source, &#key, #max)), quote!(under_permit))
        }
        Kind::Once => (quote!(once(#source, &#key)), quote!(under_guard)),
        _ => (quote!(lock(#source, &#key)), quote!(under_guard)),
    };
    (quote!(#private::#request #(#options)*), under)
}

/// Expands to the answer when the lock is held or the pool is full; `None` if that is an error like
/// any other.
fn contended(context: &Context, layer: &Layer) -> Option<TokenStream> {
    match &layer.on_contended {
        Some(on_contended) => Some(answer(on_contended)),
        // A held lock is reported as such: the answer for an unavailable backend must not hide it.
        None => layer.on_unavailable.as_ref().map(|_| {
            let told = told(context, layer);
            quote!(return #told)
        }),
    }
}

/// Expands to the answer to every other error.
fn failed(context: &Context, layer: &Layer) -> TokenStream {
    let private = &context.private;
    let Some(on_unavailable) = &layer.on_unavailable else {
        return told(context, layer);
    };
    let answered = answer(on_unavailable);
    if layer.on_error.is_some() || layer.map_err.is_some() {
        let told = told(context, layer);
        return quote! {
            if #private::is_unavailable(&__cachify_error) {
                #answered
            }
            #told
        };
    }
    if context.function.returns_impl() {
        return quote! {
            let _ = #private::is_unavailable(&__cachify_error);
            #answered
        };
    }
    let returns = &context.returns;
    // In a closure, so that a mistake in the expression is reported once.
    quote! {
        #[allow(unused_imports)]
        use #private::{ViaAnswer as _, ViaReport as _};
        let __cachify_answer = || -> #returns { #answered };
        if #private::is_unavailable(&__cachify_error) {
            return __cachify_answer();
        }
        (&&#private::Returns::<#returns>::NEW).report_or(__cachify_error, __cachify_answer)
    }
}

/// Expands to the error as the function's return type.
fn told(context: &Context, layer: &Layer) -> TokenStream {
    if let Some(on_error) = &layer.on_error {
        let arguments = quote!(#on_error, __cachify_error);
        return context.call_at(on_error.span(), "on_error", &arguments);
    }
    if let Some(map_err) = &layer.map_err {
        let arguments = quote!(#map_err, __cachify_error);
        return context.call_at(map_err.span(), "map_err", &arguments);
    }
    let report = match (&layer.on_contended, &layer.on_unavailable) {
        (Some(_), None) => "report_away",
        (None, Some(_)) => "report_held",
        _ => "report",
    };
    context.call(report, &quote!(__cachify_error))
}
