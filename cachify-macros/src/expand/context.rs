//! The state that all parts of one expansion share.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{GenericArgument, Ident, PathArguments, ReturnType, Type, TypePath, parse_quote};

use crate::args::{FunctionOptions, Layer};
use crate::function::{Function, names_in};
use crate::template::{Given, Placeholder};

/// The function, the options and the paths of one expansion.
pub(super) struct Context {
    pub(super) function: Function,
    /// The path of the module `__private`.
    pub(super) private: TokenStream,
    /// The type that the function returns, with `_` for an `impl Trait`.
    pub(super) returns: Type,
    pub(super) options: FunctionOptions,
}

impl Context {
    pub(super) fn is_sync(&self) -> bool {
        self.function.item.sig.asyncness.is_none()
    }

    /// Returns whether the function is a method, whose companions are methods beside it.
    pub(super) fn is_method(&self) -> bool {
        self.options.method.is_some() || self.function.has_receiver()
    }

    /// Expands to the output of a future: by `.await`, or by blocking if `sync`.
    pub(super) fn outcome(&self, future: &TokenStream, sync: bool) -> TokenStream {
        let private = &self.private;
        if sync {
            quote!(#private::block_on(#future))
        } else {
            quote_spanned!(self.returns_span()=> #future.await)
        }
    }

    /// Expands to a call of a function in `__private`. If it does not compile, the error points at
    /// the return type of the function.
    pub(super) fn call(&self, name: &str, arguments: &TokenStream) -> TokenStream {
        self.call_at(self.returns_span(), name, arguments)
    }

    /// Expands to a call of a function in `__private`. If it does not compile, the error points at
    /// `span`.
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

    /// Returns the place of the return type, or of the name if there is no return type.
    pub(super) fn returns_span(&self) -> Span {
        let sig = &self.function.item.sig;
        let span = match &sig.output {
            ReturnType::Default => sig.ident.span(),
            ReturnType::Type(_, ty) => ty.span(),
        };
        span.resolved_at(Span::call_site())
    }

    /// Expands to the source of a layer's handle, in the function itself.
    pub(super) fn source(&self, layer: &Layer) -> TokenStream {
        let private = &self.private;
        if let Some(with) = &layer.with {
            self.call_at(with.span(), "Given", &quote!(&(#with)))
        } else {
            quote!(#private::Ambient)
        }
    }

    /// Expands to a layer's key, in the function itself.
    pub(super) fn key(&self, layer: &Layer) -> TokenStream {
        let template = &layer.template;
        let given = Given::new(&layer.values);
        template.render(&self.private, &given, |placeholder: &Placeholder| {
            let argument = self.function.argument(template, placeholder);
            placeholder.value(&argument.to_token_stream(), template.span())
        })
    }

    /// Expands to a tag whose type is checked to be cacheable.
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

    /// Returns whether the cached type has the name of a response of one of the frameworks. If such
    /// a type cannot be cached, the compiler's error is a different one.
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

    /// Returns the variable that holds the tag. Its span is that of the return type, as with the
    /// calls, so that errors point there.
    pub(super) fn tagged(&self) -> Ident {
        Ident::new("__cachify_tag", self.returns_span())
    }

    /// Expands to the tag of a return type, which is decided by the type itself, and checks that
    /// the type can be cached.
    pub(super) fn tag(&self, returns: &Type) -> TokenStream {
        let private = &self.private;
        // Only an error that is `'static` can be shared, but method lookup ignores lifetimes. A
        // type with a lifetime therefore skips `ViaShared`.
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

/// Returns the type in the `Ok` of a type that is written as a `Result`. An alias of another name
/// has none: its companions take and return the whole type.
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
