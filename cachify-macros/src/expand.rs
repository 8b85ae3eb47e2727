//! Expands the macros.

pub(crate) mod key;

mod cached;
mod companions;
mod hold;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{AttrStyle, Attribute, Ident, ItemFn, Meta, ReturnType, Type};

use crate::args::{Layer, Place, What};
use crate::function::{Function, names_in};
use crate::template::{Given, Slot};
use crate::{krate, validate};

/// Begins what an attribute is given that another one has taken along already, so that it does
/// nothing and its import is used. Behind it stands what it was taken for.
const SEEN: &str = "__cachify_seen_";

/// One of the four attributes, with those below it.
pub(crate) fn attribute(what: What, options: TokenStream, item: &TokenStream) -> TokenStream {
    if let Some(taken_for) = options.to_string().strip_prefix(SEEN) {
        return if taken_for == what.name() {
            TokenStream::new()
        } else {
            let message =
                format!("`use .. as ..` gave this the name of another attribute: write `{what}`");
            syn::Error::new(Span::call_site(), message).into_compile_error()
        };
    }
    let Ok(item) = syn::parse2::<ItemFn>(item.clone()) else {
        let message = format!("`{what}` goes on a function that has a body");
        let error = syn::Error::new(Span::call_site(), message).into_compile_error();
        return quote!(#error #item);
    };
    let (inner, attrs): (Vec<_>, _) = item
        .attrs
        .into_iter()
        .partition(|attr| What::of(attr.path()).is_some());
    let item = ItemFn { attrs, ..item };
    expand(what, options, &inner, item.clone()).unwrap_or_else(|error| {
        // With the function as it is, so that its callers are no further mistakes.
        let error = error.into_compile_error();
        let statements = &item.block.stmts;
        let function = function(&item, &inner, &quote!(#(#statements)*));
        quote!(#error #function)
    })
}

fn expand(
    what: What,
    options: TokenStream,
    inner: &[Attribute],
    item: ItemFn,
) -> syn::Result<TokenStream> {
    let outer = |input: ParseStream<'_>| Layer::parse(what, Span::call_site(), input);
    let mut written = names_in(options.clone());
    let mut layers = vec![outer.parse2(options)?];
    for attr in inner {
        written.append(&mut names_in(attr.meta.to_token_stream()));
        layers.push(inner_layer(attr)?);
    }
    let place = merge(&mut layers)?;
    let parts = Function::new(item);
    validate::stack(&layers)?;
    let names_self_type = written.contains("Self");
    let has_companions = !matches!(&place.companion, Some(companion) if companion.name.is_none());
    validate::function(
        &parts,
        &layers[0],
        place.method.is_some(),
        has_companions,
        names_self_type,
    )?;
    for layer in &layers {
        validate::layer(&parts, layer)?;
    }
    let context = Context {
        private: krate::private(place.krate.as_ref()),
        returns: parts.returns(),
        function: parts,
        place,
    };
    let companions = companions::expand(&context, &layers)?;
    let mut body = context.body(&layers, context.is_sync());
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
    let function = function(&context.function.item, inner, &body);
    Ok(quote!(#function #companions))
}

/// The function with another body. `inner` are the attributes that were taken from it.
fn function(item: &ItemFn, inner: &[Attribute], body: &TokenStream) -> TokenStream {
    let ItemFn {
        attrs, vis, sig, ..
    } = item;
    let (outside, inside): (Vec<_>, Vec<_>) = attrs
        .iter()
        .partition(|attr| matches!(attr.style, AttrStyle::Outer));
    let seen = inner.iter().filter_map(|attr| {
        let what = What::of(attr.path())?;
        let seen = format_ident!("{SEEN}{}", what.name());
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
    let what = What::of(attr.path()).unwrap_or(What::Cached);
    let tokens = match &attr.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    (|input: ParseStream<'_>| Layer::parse(what, attr.path().span(), input)).parse2(tokens)
}

/// Merges what the attributes say about the function as a whole. They must agree.
fn merge(layers: &mut [Layer]) -> syn::Result<Place> {
    let mut merged = Place::default();
    for layer in layers {
        let Place {
            companion,
            method,
            krate,
        } = std::mem::take(&mut layer.place);
        merged.method = merged.method.or(method);
        merged.krate = merged.krate.or(krate);
        if let (Some(one), Some(other)) = (&merged.companion, &companion)
            && one.name != other.name
        {
            return Err(syn::Error::new(
                other.span,
                "a function has one set of companions: say `companion` once",
            ));
        }
        merged.companion = merged.companion.or(companion);
    }
    Ok(merged)
}

/// What all parts of one expansion know.
struct Context {
    function: Function,
    /// The path of `__private`.
    private: TokenStream,
    /// What the function returns, with `_` for an `impl Trait`.
    returns: Type,
    place: Place,
}

impl Context {
    fn is_sync(&self) -> bool {
        self.function.item.sig.asyncness.is_none()
    }

    /// Companions are siblings of the function.
    fn is_method(&self) -> bool {
        self.place.method.is_some() || self.function.has_receiver()
    }

    /// Returns the statements of a function's or a closure's body, with the first layer around the
    /// others.
    fn body(&self, layers: &[Layer], sync: bool) -> TokenStream {
        let Some((layer, inner)) = layers.split_first() else {
            let statements = &self.function.item.block.stmts;
            return quote!(#(#statements)*);
        };
        let inner = self.body(inner, false);
        let returns = match &self.function.item.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(arrow, _) => {
                let returns = &self.returns;
                Some(quote!(#arrow #returns))
            }
        };
        let work = quote!(async move || #returns { #inner });
        match layer.what {
            What::Cached => cached::body(self, layer, &work, sync),
            What::Once | What::Locked | What::Pooled => hold::body(self, layer, &work, sync),
        }
    }

    /// Returns the outcome of a future, in a function that may not be async.
    fn outcome(&self, future: &TokenStream, sync: bool) -> TokenStream {
        let private = &self.private;
        if sync {
            quote!(#private::block_on(#future))
        } else {
            quote_spanned!(self.returns_span()=> #future.await)
        }
    }

    /// Calls a function of ours, for the compiler to point at the function's type if it does not
    /// do.
    fn call(&self, name: &str, arguments: &TokenStream) -> TokenStream {
        self.call_at(self.returns_span(), name, arguments)
    }

    /// Calls a function of ours, for the compiler to point at `span` if something does not do.
    fn call_at(&self, span: Span, name: &str, arguments: &TokenStream) -> TokenStream {
        let span = span.resolved_at(Span::call_site());
        let name = Ident::new(name, span);
        let path = self.private.clone().into_iter().map(|mut token| {
            token.set_span(span);
            token
        });
        let path: TokenStream = path.collect();
        quote_spanned!(span=> #path::#name(#arguments))
    }

    /// Where the function says what it returns.
    fn returns_span(&self) -> Span {
        let sig = &self.function.item.sig;
        let span = match &sig.output {
            ReturnType::Default => sig.ident.span(),
            ReturnType::Type(_, ty) => ty.span(),
        };
        span.resolved_at(Span::call_site())
    }

    /// Returns the handle that a layer uses, in the function itself.
    fn source(&self, layer: &Layer) -> TokenStream {
        let private = &self.private;
        if let Some(with) = &layer.with {
            self.call_at(with.span(), "Given", &quote!(&(#with)))
        } else {
            quote!(#private::Ambient)
        }
    }

    /// A layer's key, in the function itself.
    fn key(&self, layer: &Layer) -> TokenStream {
        let template = &layer.template;
        let given = Given::new(&layer.values);
        template.render(&self.private, &given, |slot: &Slot| {
            let argument = self.function.argument(template, slot);
            slot.value(&argument.to_token_stream(), template.span())
        })
    }

    /// A tag of what can be cached.
    fn cacheable(&self, tag: &TokenStream) -> TokenStream {
        let tagged = self.tagged();
        let check = if self.is_named_like_a_response() {
            "cacheable_response"
        } else {
            "cacheable"
        };
        let checked = self.call(check, &tagged.to_token_stream());
        quote!({
            let __cachify_tag = #tag;
            #checked
        })
    }

    /// Returns whether what is cached has the name of a response of one of the frameworks. Then the
    /// complaint about a type that cannot be cached is another one.
    fn is_named_like_a_response(&self) -> bool {
        const RESPONSES: [&str; 9] = [
            "Form",
            "Html",
            "Json",
            "Payload",
            "PlainText",
            "Redirect",
            "Response",
            "Sse",
            "Xml",
        ];
        let ok = companions::ok_of(&self.returns);
        let Type::Path(value) = ok.as_ref().unwrap_or(&self.returns) else {
            return false;
        };
        let last = value.path.segments.last();
        last.is_some_and(|last| RESPONSES.iter().any(|name| last.ident == name))
    }

    /// Returns the variable that has the tag. It is at the type, like the calls: there the compiler
    /// is to point if it cannot be cached.
    fn tagged(&self) -> Ident {
        Ident::new("__cachify_tag", self.returns_span())
    }

    /// Tells what kind of type a function returns, by that type, and that it can be cached.
    fn tag(&self, returns: &Type) -> TokenStream {
        let private = &self.private;
        // Only what owns itself can be shared, and the search for a method does not look at
        // lifetimes.
        let mut names = names_in(returns.to_token_stream());
        names.remove("'static");
        let levels = if names.iter().any(|name| name.starts_with('\'')) {
            quote!(&&)
        } else {
            quote!(&&&)
        };
        self.cacheable(&quote!({
            #[allow(unused_imports)]
            use #private::{ViaFallible as _, ViaPlain as _, ViaShared as _};
            (#levels #private::Returns::<#returns>::NEW).returned()
        }))
    }
}
