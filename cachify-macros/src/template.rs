//! A key template in source code, and the code that renders it.

use cachify_syntax::template;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::Parser as _;
use syn::spanned::Spanned as _;
use syn::{Expr, Ident, Index, LitStr, Member};

/// A well-formed template. Whether its placeholders name anything is still to be checked.
pub(crate) struct Template {
    pub(crate) lit: LitStr,
    head: String,
    pub(crate) placeholders: Vec<Placeholder>,
}

pub(crate) struct Placeholder {
    /// The placeholder as written, without the braces.
    pub(crate) name: String,
    /// The name before the first dot.
    pub(crate) root: Ident,
    /// The fields after the first dot.
    pub(crate) fields: Vec<Member>,
    then: String,
}

/// The values that are given to placeholders by name, as in `page = page.unwrap_or(1)`.
#[derive(Default)]
pub(crate) struct Given<'a>(Vec<(&'a Ident, &'a Expr)>);

impl<'a> Given<'a> {
    pub(crate) fn new(values: impl IntoIterator<Item = &'a (Ident, Expr)>) -> Self {
        Self(
            values
                .into_iter()
                .map(|(name, value)| (name, value))
                .collect(),
        )
    }

    fn position(&self, placeholder: &Placeholder) -> Option<usize> {
        self.0.iter().position(|(name, _)| placeholder.is_of(name))
    }
}

impl Template {
    pub(crate) fn has(&self, name: &Ident) -> bool {
        self.placeholders
            .iter()
            .any(|placeholder| placeholder.is_of(name))
    }

    pub(crate) fn new(lit: LitStr) -> syn::Result<Self> {
        let text = lit.value();
        let parsed = template::parse(&text).map_err(|error| syn::Error::new(lit.span(), error))?;
        let placeholders = parsed
            .placeholders
            .into_iter()
            .map(|placeholder| {
                Placeholder::new(&text[placeholder.name], placeholder.then, lit.span())
            })
            .collect::<syn::Result<_>>()?;
        Ok(Self {
            lit,
            head: parsed.head,
            placeholders,
        })
    }

    pub(crate) fn span(&self) -> Span {
        self.lit.span()
    }

    /// Returns the error about a placeholder that names nothing. `place` should have the name;
    /// `names` are the names that it has.
    pub(crate) fn unknown(
        &self,
        placeholder: &Placeholder,
        place: &str,
        names: impl Iterator<Item = String>,
    ) -> syn::Error {
        let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        let there = match names.as_slice() {
            [] => "it has none".to_owned(),
            [name] => format!("it has {name} only"),
            names => format!("it has {}", names.join(", ")),
        };
        let message = format!("`{{{}}}` names no {place}: {there}", placeholder.name);
        syn::Error::new(self.span(), message)
    }

    /// Expands to the template, as a `static` named `__CACHIFY_TEMPLATE`.
    pub(crate) fn statics(&self, private: &TokenStream) -> TokenStream {
        let Self {
            lit,
            head,
            placeholders,
        } = self;
        let text = lit.value();
        let count = placeholders.len();
        let placeholders = placeholders
            .iter()
            .map(|Placeholder { name, then, .. }| quote!(#private::Segment::new(#name, #then)));
        quote! {
            static __CACHIFY_SEGMENTS: [#private::Segment; #count] = [#(#placeholders),*];
            static __CACHIFY_TEMPLATE: #private::KeyTemplate =
                #private::KeyTemplate::from_macro(#text, #head, &__CACHIFY_SEGMENTS);
        }
    }

    /// Expands to an expression that renders the template. `value` returns an expression for each
    /// placeholder that `given` has no value for.
    pub(crate) fn render(
        &self,
        private: &TokenStream,
        given: &Given<'_>,
        value: impl Fn(&Placeholder) -> TokenStream,
    ) -> TokenStream {
        let statics = self.statics(private);
        let names = given.0.iter();
        let names: Vec<_> = names
            .map(|(name, _)| format_ident!("__cachify_value_{}", name.unraw()))
            .collect();
        let values = self.placeholders.iter().map(|placeholder| {
            let Some(at) = given.position(placeholder) else {
                let value = value(placeholder);
                return quote_spanned!(self.span()=> &#value);
            };
            // At the expression, so that the compiler's error about a value without `KeyPart`
            // points there.
            let (name, span) = (&names[at], given.0[at].1.span());
            let value = placeholder.value(&quote_spanned!(span=> (*#name)), span);
            quote_spanned!(span=> &#value)
        });
        let render = quote!(__CACHIFY_TEMPLATE.render(&[#(#values),*]));
        let render = if names.is_empty() {
            render
        } else {
            // Bound by a `match`, so that an expression whose name occurs twice in the template is
            // evaluated once.
            let expressions = given.0.iter().map(|(_, expression)| expression);
            quote!(match (#(&(#expressions),)*) { (#(#names,)*) => #render })
        };
        // The key gets a statement of its own, at whose end the references are dropped: they may
        // not be `Send`.
        quote!({
            #statics
            let __cachify_key = #render;
            __cachify_key
        })
    }
}

impl Placeholder {
    fn new(name: &str, then: String, span: Span) -> syn::Result<Self> {
        let mut parts = name.split('.');
        let root = parts.next().unwrap_or_default();
        let ident = |part: &str| {
            let ident = Ident::parse_any.parse_str(part).ok();
            ident
                .and_then(|ident| escaped(&ident, span))
                .ok_or_else(|| {
                    let why = if part.contains('-') {
                        "`-` in a name is only for templates of HTTP layers".to_owned()
                    } else {
                        format!("`{part}` is not the name of a value")
                    };
                    syn::Error::new(
                        span,
                        format!("the placeholder `{{{name}}}` is malformed: {why}"),
                    )
                })
        };
        let fields = parts
            .map(|part| match part.parse::<u32>() {
                Ok(index) => Ok(Member::Unnamed(Index { index, span })),
                Err(_) => ident(part).map(Member::Named),
            })
            .collect::<syn::Result<_>>()?;
        let root = match root {
            "self" => Ident::new(root, span),
            root => ident(root)?,
        };
        Ok(Self {
            name: name.to_owned(),
            root,
            fields,
            then,
        })
    }

    /// Returns whether the placeholder begins with `name`.
    pub(crate) fn is_of(&self, name: &Ident) -> bool {
        self.root.unraw() == name.unraw()
    }

    /// Expands to the value that the placeholder names; `root` is the value of its first name.
    pub(crate) fn value(&self, root: &TokenStream, span: Span) -> TokenStream {
        let fields = &self.fields;
        quote_spanned!(span=> #root #(.#fields)*)
    }
}

/// Adds `r#` to a keyword, which a template writes without it. Returns `None` for keywords that
/// cannot be names even with `r#`.
fn escaped(ident: &Ident, span: Span) -> Option<Ident> {
    let text = ident.to_string();
    if syn::parse_str::<Ident>(&text).is_ok() {
        return Some(Ident::new(&text, span));
    }
    let never = matches!(&*text, "self" | "Self" | "super" | "crate" | "_");
    (!never).then(|| Ident::new_raw(&text, span))
}
