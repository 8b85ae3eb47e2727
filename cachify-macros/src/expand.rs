//! The expansions of the macros.

pub(crate) mod key;

mod cached;
mod companions;
mod context;
mod hold;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{AttrStyle, Attribute, ItemFn, Meta, ReturnType};

use crate::args::{FunctionOptions, Kind, Layer};
use crate::function::{Function, names_in};
use crate::{krate, validate};
use context::Context;

/// The prefix of the option that marks an attribute as already expanded by another one. Such an
/// attribute expands to nothing; it stays only so that its import counts as used. The prefix is
/// followed by the name under which the attribute was recognized.
const SEEN: &str = "__cachify_seen_";

/// Expands an attribute along with the attributes below it.
pub(crate) fn attribute(kind: Kind, options: TokenStream, item: &TokenStream) -> TokenStream {
    if let Some(taken_for) = options.to_string().strip_prefix(SEEN) {
        return if taken_for == kind.name() {
            TokenStream::new()
        } else {
            let message =
                format!("`use .. as ..` gave this the name of another attribute: write `{kind}`");
            syn::Error::new(Span::call_site(), message).into_compile_error()
        };
    }
    let Ok(item) = syn::parse2::<ItemFn>(item.clone()) else {
        let message = format!("`{kind}` goes on a function that has a body");
        let error = syn::Error::new(Span::call_site(), message).into_compile_error();
        return quote!(#error #item);
    };
    let (inner, attrs): (Vec<_>, _) = item
        .attrs
        .into_iter()
        .partition(|attr| Kind::of(attr.path()).is_some());
    let item = ItemFn { attrs, ..item };
    expand(kind, options, &inner, item.clone()).unwrap_or_else(|error| {
        // The function stays, so that its callers do not cause further errors.
        let error = error.into_compile_error();
        let statements = &item.block.stmts;
        let function = function(&item, &inner, &quote!(#(#statements)*));
        quote!(#error #function)
    })
}

fn expand(
    kind: Kind,
    options: TokenStream,
    inner: &[Attribute],
    item: ItemFn,
) -> syn::Result<TokenStream> {
    let outer = |input: ParseStream<'_>| Layer::parse(kind, Span::call_site(), input);
    let mut written = names_in(options.clone());
    let mut layers = vec![outer.parse2(options)?];
    for attr in inner {
        written.append(&mut names_in(attr.meta.to_token_stream()));
        layers.push(inner_layer(attr)?);
    }
    let options = merge(&mut layers)?;
    let parts = Function::new(item);
    validate::stack(&layers)?;
    let names_self_type = written.contains("Self");
    let has_companions = !matches!(&options.companion, Some(companion) if companion.name.is_none());
    validate::function(
        &parts,
        &layers[0],
        options.method.is_some(),
        has_companions,
        names_self_type,
    )?;
    for layer in &layers {
        validate::layer(&parts, layer)?;
    }
    let context = Context {
        private: krate::private(options.krate.as_ref()),
        returns: parts.returns(),
        function: parts,
        options,
    };
    let companions = companions::expand(&context, &layers)?;
    let mut body = body(&context, &layers, context.is_sync());
    if context.is_sync() {
        let private = &context.private;
        let span = context
            .function
            .item
            .sig
            .fn_token
            .span
            .resolved_at(Span::call_site());
        let check = quote_spanned!(span=> #private::needs_blocking!(););
        body = quote!(#check #body);
    }
    let is_moved = |layer| cached::is_owned(&context, layer, context.is_sync());
    let function = if layers.iter().any(is_moved) {
        // The body is a function of its own, so here nothing is changed.
        function(&context.function.without_mut(), inner, &body)
    } else {
        function(&context.function.item, inner, &body)
    };
    Ok(quote!(#function #companions))
}

/// Returns the statements of a function's or a closure's body, with the first layer around the
/// others.
fn body(context: &Context, layers: &[Layer], sync: bool) -> TokenStream {
    let Some((layer, inner)) = layers.split_first() else {
        let statements = &context.function.item.block.stmts;
        return quote!(#(#statements)*);
    };
    let inner = body(context, inner, false);
    let returns = match &context.function.item.sig.output {
        ReturnType::Default => None,
        ReturnType::Type(arrow, _) => {
            let returns = &context.returns;
            Some(quote!(#arrow #returns))
        }
    };
    let work = quote!(async move || #returns { #inner });
    match layer.kind {
        Kind::Cached => cached::body(context, layer, &inner, &work, sync),
        Kind::Once | Kind::Locked | Kind::Pooled => hold::body(context, layer, &work, sync),
    }
}

/// Returns the function with another body. `inner` are the attributes that were removed from it.
fn function(item: &ItemFn, inner: &[Attribute], body: &TokenStream) -> TokenStream {
    let ItemFn {
        attrs, vis, sig, ..
    } = item;
    let (outside, inside): (Vec<_>, Vec<_>) = attrs
        .iter()
        .partition(|attr| matches!(attr.style, AttrStyle::Outer));
    let seen = inner.iter().filter_map(|attr| {
        let kind = Kind::of(attr.path())?;
        let seen = format_ident!("{SEEN}{}", kind.name());
        let path = attr.path();
        Some(quote!(#[#path(#seen)] const _: () = ();))
    });
    quote! {
        #(#outside)*
        #vis #sig {
            #(#inside)*
            #(#seen)*
            #body
        }
    }
}

fn inner_layer(attr: &Attribute) -> syn::Result<Layer> {
    let kind = Kind::of(attr.path()).unwrap_or(Kind::Cached);
    let tokens = match &attr.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    (|input: ParseStream<'_>| Layer::parse(kind, attr.path().span(), input)).parse2(tokens)
}

/// Merges the options of the function as a whole. The attributes must agree on them.
fn merge(layers: &mut [Layer]) -> syn::Result<FunctionOptions> {
    let mut merged = FunctionOptions::default();
    for layer in layers {
        let FunctionOptions {
            companion,
            method,
            krate,
        } = std::mem::take(&mut layer.function);
        merged.method = merged.method.or(method);
        merged.krate = merged.krate.or(krate);
        if let (Some(one), Some(other)) = (&merged.companion, &companion)
            && one.name != other.name
        {
            return Err(syn::Error::new(
                other.span,
                "a function has one set of companions: give `companion` once",
            ));
        }
        merged.companion = merged.companion.or(companion);
    }
    Ok(merged)
}
