//! The companions of a function: `reset`, `expire`, `set`, `get`, `is_locked`, `force_release` and
//! `in_use`.

mod signature;

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Ident, Type};

use super::cached;
use super::context::{Context, ok_of};
use crate::args::{Kind, Layer};
use crate::function::names_in;

/// Expands to all companions: functions of an empty enum with the function's name, or methods
/// beside a method.
pub(super) fn expand(context: &Context, layers: &[Layer]) -> syn::Result<TokenStream> {
    let item = &context.function.item;
    let name = match &context.options.companion {
        Some(companion) => match &companion.name {
            Some(name) => name,
            None => return Ok(TokenStream::new()),
        },
        None => &item.sig.ident,
    };
    // Companions exist, and are documented, under the same conditions as the function.
    let cfgs = item.attrs.iter().filter(|attr| {
        let is_hidden = || names_in(attr.meta.to_token_stream()).contains("hidden");
        attr.path().is_ident("cfg") || attr.path().is_ident("doc") && is_hidden()
    });
    let cfgs = quote!(#(#cfgs)*);
    let companions = Companions {
        context,
        layers,
        name,
        cfgs: &cfgs,
    };
    let methods = companions.methods()?;
    if context.is_method() {
        return Ok(methods);
    }
    let vis = &item.vis;
    let doc = format!(
        "The companions of the function [`{0}`](fn@{0}). They take the arguments that the key names.",
        item.sig.ident
    );
    // Poem's `#[handler]` already makes a type with the function's name.
    let is_handler = item.attrs.iter().any(|attr| {
        let last = attr.path().segments.last();
        last.is_some_and(|last| last.ident == "handler")
    });
    let holder = (!is_handler || name != &item.sig.ident).then(|| {
        quote! {
            #cfgs
            #[doc = #doc]
            #[allow(non_camel_case_types, dead_code, clippy::empty_enums, clippy::exhaustive_enums)]
            #vis enum #name {}
        }
    });
    Ok(quote! {
        #holder
        #cfgs
        impl #name { #methods }
    })
}

struct Companions<'a> {
    context: &'a Context,
    /// The layers, the outermost first.
    layers: &'a [Layer],
    name: &'a Ident,
    cfgs: &'a TokenStream,
}

/// The parts of one companion.
struct Method<'a> {
    name: &'static str,
    doc: &'a str,
    /// The parameter besides the key's arguments.
    value: Option<(&'a Ident, &'a Type)>,
    output: TokenStream,
    /// Further tokens whose generics the signature needs.
    mentions: TokenStream,
    body: TokenStream,
}

impl<'a> Method<'a> {
    fn new(name: &'static str, doc: &'a str, output: TokenStream, body: TokenStream) -> Self {
        Self {
            name,
            doc,
            value: None,
            output,
            mentions: TokenStream::new(),
            body,
        }
    }
}

impl Companions<'_> {
    fn methods(&self) -> syn::Result<TokenStream> {
        let mut methods = TokenStream::new();
        let of = |wanted: &[Kind]| -> Vec<&Layer> {
            self.layers
                .iter()
                .filter(|layer| wanted.contains(&layer.kind))
                .collect()
        };
        let cached = of(&[Kind::Cached]);
        if !cached.is_empty() {
            let reset = "Removes the entry of these arguments: see `Cachify::reset`.";
            methods.extend(self.change(&cached, "reset", reset)?);
            let expire = "Makes the entry of these arguments stale: see `Cachify::expire`.";
            methods.extend(self.change(&cached, "expire", expire)?);
            methods.extend(self.set(&cached)?);
            methods.extend(self.get(&cached)?);
        }
        let locks = of(&[Kind::Once, Kind::Locked]);
        if !locks.is_empty() {
            methods.extend(self.is_locked(&locks)?);
            methods.extend(self.force_release(&locks)?);
        }
        let pools = of(&[Kind::Pooled]);
        if !pools.is_empty() {
            methods.extend(self.in_use(&pools)?);
        }
        Ok(methods)
    }

    /// Expands to `reset` or `expire`.
    fn change(&self, layers: &[&Layer], name: &'static str, doc: &str) -> syn::Result<TokenStream> {
        let private = &self.context.private;
        let change = format_ident!("{name}");
        // The inner layer first: a reader between two resets must not find the old value in an
        // inner layer and store it in an outer one.
        let body = self.each(
            layers.iter().rev(),
            "all",
            |source, key| quote!(#private::handle(#source).#change(&#key).await),
        );
        self.method(layers, Method::new(name, doc, quote!(()), body))
    }

    fn is_locked(&self, layers: &[&Layer]) -> syn::Result<TokenStream> {
        let private = &self.context.private;
        let body = self.each(
            layers.iter(),
            "any",
            |source, key| quote!(#private::lock(#source, &#key).is_locked().await),
        );
        let doc =
            "Returns whether a caller holds the lock for these arguments: see `Lock::is_locked`.";
        self.method(
            layers,
            Method::new("is_locked", doc, quote!(::core::primitive::bool), body),
        )
    }

    fn force_release(&self, layers: &[&Layer]) -> syn::Result<TokenStream> {
        let private = &self.context.private;
        let body = self.each(
            layers.iter().rev(),
            "any",
            |source, key| quote!(#private::lock(#source, &#key).force_release().await),
        );
        let doc = "Takes the lock for these arguments from its holder: see `Lock::force_release`.";
        self.method(
            layers,
            Method::new("force_release", doc, quote!(::core::primitive::bool), body),
        )
    }

    fn in_use(&self, layers: &[&Layer]) -> syn::Result<TokenStream> {
        let private = &self.context.private;
        let body = self.each(
            layers.iter(),
            "all",
            |source, key| quote!(#private::in_use(#private::pool(#source, &#key, 1)).await),
        );
        let doc = "Returns the number of permits in use for these arguments: see `Pool::status`.";
        self.method(
            layers,
            Method::new("in_use", doc, quote!(::core::primitive::usize), body),
        )
    }

    fn set(&self, layers: &[&Layer]) -> syn::Result<TokenStream> {
        let private = &self.context.private;
        let function = &self.context.function;
        // An option that uses the function's arguments cannot be evaluated here.
        let decides_by_argument = layers.iter().any(|layer| {
            let mut options = layer.value_options();
            options.any(|option| function.is_used_by(option))
        });
        if decides_by_argument {
            return Ok(TokenStream::new());
        }
        let stored = self.stored();
        let span = self.context.returns_span();
        let value = Ident::new(&function.free_name("value".to_owned()), span);
        let set = format!("set_{}", stored.suffix);
        let (tag, tagged) = (&stored.tag, self.context.tagged());
        let each = self.each_layer(layers.iter().rev(), "all", |layer| {
            let (source, key) = (self.source(layer), self.key(layer));
            let cached = quote!(#private::handle(#source).cached(&#key));
            let cached = cached::policy(layer, private, &quote!(__cachify_tag), cached);
            let value = if layers.len() > 1 {
                quote_spanned!(span=> ::core::clone::Clone::clone(&#value))
            } else {
                value.to_token_stream()
            };
            let call = self.context.call(&set, &quote!(#tagged, #cached, #value));
            self.context.outcome(&call, false)
        });
        self.method(
            layers,
            Method {
                name: "set",
                doc: "Stores a value for these arguments, replacing any other: see `Cached::set`.",
                value: Some((&value, &stored.ty)),
                output: quote!(()),
                mentions: stored.mentions,
                body: quote!(let __cachify_tag = #tag; #each),
            },
        )
    }

    fn get(&self, layers: &[&Layer]) -> syn::Result<TokenStream> {
        let private = &self.context.private;
        let stored = self.stored();
        let (tag, ty, tagged) = (&stored.tag, &stored.ty, self.context.tagged());
        let get = format!("get_{}", stored.suffix);
        let mut found = TokenStream::new();
        for layer in layers.iter().rev() {
            let (source, key) = (self.source(layer), self.key(layer));
            let cached = quote!(#private::handle(#source).cached(&#key));
            let call = self.context.call(&get, &quote!(#tagged, #cached));
            let here = self.context.outcome(&call, false);
            found = if found.is_empty() {
                here
            } else {
                quote!(match #here {
                    ::core::result::Result::Ok(::core::option::Option::None) => #found,
                    __cachify_found => __cachify_found,
                })
            };
        }
        self.method(layers, Method {
            name: "get",
            doc: "Returns the cached value for these arguments, if any. It computes nothing: see \
                  `Cached::get`.",
            value: None,
            output: quote!(::core::option::Option<#ty>),
            mentions: stored.mentions,
            body: quote!(let __cachify_tag = #tag; #found),
        })
    }

    /// Expands to one operation for each layer, on its handle and key. All of them run before the
    /// first error is returned.
    fn each<'l>(
        &self,
        layers: impl Iterator<Item = &'l &'l Layer>,
        join: &str,
        operation: impl Fn(TokenStream, TokenStream) -> TokenStream,
    ) -> TokenStream {
        self.each_layer(layers, join, |layer| {
            operation(self.source(layer), self.key(layer))
        })
    }

    fn each_layer<'l>(
        &self,
        layers: impl Iterator<Item = &'l &'l Layer>,
        join: &str,
        operation: impl Fn(&Layer) -> TokenStream,
    ) -> TokenStream {
        let private = &self.context.private;
        let operations: Vec<_> = layers.map(|layer| operation(layer)).collect();
        let join = format_ident!("{join}");
        match operations.as_slice() {
            [operation] => operation.clone(),
            operations => quote!(#private::#join([#(#operations),*])),
        }
    }

    /// Returns the type of the value that `set` takes and `get` returns.
    fn stored(&self) -> Stored {
        let context = self.context;
        let private = &context.private;
        let mut returns = context.returns.clone();
        context.function.elide(&mut returns);
        let Some(ok) = ok_of(&returns) else {
            return Stored {
                tag: context.tag(&returns),
                mentions: returns.to_token_stream(),
                ty: returns,
                suffix: "returned",
            };
        };
        // A generic parameter that only the error uses could not be inferred.
        let own = |tokens: TokenStream| context.function.generics_of(tokens).params.len();
        let tag = if own(quote!(#returns)) == own(quote!(#ok)) {
            context.tag(&returns)
        } else {
            context.cacheable(&quote!(#private::Plain::<#ok>::NEW))
        };
        Stored {
            tag,
            mentions: ok.to_token_stream(),
            ty: ok,
            suffix: "value",
        }
    }
}

struct Stored {
    ty: Type,
    /// An expression for the tag of the return type.
    tag: TokenStream,
    /// `value` for the type in `Ok`, `returned` for the whole return type.
    suffix: &'static str,
    mentions: TokenStream,
}
