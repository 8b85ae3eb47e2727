//! The context of an expansion.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{GenericArgument, Ident, PathArguments, ReturnType, Type, TypePath, parse_quote};

use crate::args::{FunctionOptions, Layer};
use crate::function::{Function, names_in};
use crate::template::{Given, Placeholder};

/// The knowledge that all parts of one expansion share.
pub(super) struct Context {
    pub(super) function: Function,
    /// The path of `__private`.
    pub(super) private: TokenStream,
    /// The type that the function returns, with `_` for an `impl Trait`.
    pub(super) returns: Type,
    pub(super) options: FunctionOptions,
}

impl Context {
    pub(super) fn is_sync(&self) -> bool {
        self.function.item.sig.asyncness.is_none()
    }

    /// Companions are siblings of the function.
    pub(super) fn is_method(&self) -> bool {
        self.options.method.is_some() || self.function.has_receiver()
    }

    /// Returns the outcome of a future, in a function that may not be async.
    pub(super) fn outcome(&self, future: &TokenStream, sync: bool) -> TokenStream {
        let private = &self.private;
        if sync {
            quote!(#private::block_on(#future))
        } else {
            quote_spanned!(self.returns_span()=> #future.await)
        }
    }

    /// Calls a function of ours, for the compiler to point at the function's type if it does not
    /// do.
    pub(super) fn call(&self, name: &str, arguments: &TokenStream) -> TokenStream {
        self.call_at(self.returns_span(), name, arguments)
    }

    /// Calls a function of ours, for the compiler to point at `span` if something does not do.
    pub(super) fn call_at(&self, span: Span, name: &str, arguments: &TokenStream) -> TokenStream {
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
    pub(super) fn returns_span(&self) -> Span {
        let sig = &self.function.item.sig;
        let span = match &sig.output {
            ReturnType::Default => sig.ident.span(),
            ReturnType::Type(_, ty) => ty.span(),
        };
        span.resolved_at(Span::call_site())
    }

    /// Returns the handle that a layer uses, in the function itself.
    pub(super) fn source(&self, layer: &Layer) -> TokenStream {
        let private = &self.private;
        if let Some(with) = &layer.with {
            self.call_at(with.span(), "Given", &quote!(&(#with)))
        } else {
            quote!(#private::Ambient)
        }
    }

    /// A layer's key, in the function itself.
    pub(super) fn key(&self, layer: &Layer) -> TokenStream {
        let template = &layer.template;
        let given = Given::new(&layer.values);
        template.render(&self.private, &given, |placeholder: &Placeholder| {
            let argument = self.function.argument(template, placeholder);
            placeholder.value(&argument.to_token_stream(), template.span())
        })
    }

    /// A tag of what can be cached.
    pub(super) fn cacheable(&self, tag: &TokenStream) -> TokenStream {
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
    pub(super) fn is_named_like_a_response(&self) -> bool {
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
        let ok = ok_of(&self.returns);
        let Type::Path(value) = ok.as_ref().unwrap_or(&self.returns) else {
            return false;
        };
        let last = value.path.segments.last();
        last.is_some_and(|last| RESPONSES.iter().any(|name| last.ident == name))
    }

    /// Returns the variable that has the tag. It is at the type, like the calls: there the compiler
    /// is to point if it cannot be cached.
    pub(super) fn tagged(&self) -> Ident {
        Ident::new("__cachify_tag", self.returns_span())
    }

    /// Tells what kind of type a function returns, by that type, and that it can be cached.
    pub(super) fn tag(&self, returns: &Type) -> TokenStream {
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

/// The type in the `Ok` of what is written as a `Result`. An alias of another name is taken and
/// given whole.
pub(super) fn ok_of(returns: &Type) -> Option<Type> {
    let Type::Path(TypePath { path, .. }) = returns else {
        return None;
    };
    let last = path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(parse_quote!(#ty)),
        _ => None,
    })
}
