//! The expansions of `key!` and `#[derive(CacheKey)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::visit::Visit;
use syn::{Attribute, Data, DeriveInput, Expr, Field, Ident, LitStr, Path, Token, parse_quote};

use crate::args::value_follows;
use crate::krate;
use crate::template::{Given, Placeholder, Template};

/// The input of `key!`: `"template", name = expression, ..`
pub(crate) struct KeyInput {
    template: Template,
    values: Vec<(Ident, Expr)>,
    krate: Option<Path>,
}

impl Parse for KeyInput {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() {
            return Err(input
                .error("the key is empty: give it some text, such as `key!(\"user-{user_id}\")`"));
        }
        let mut this = Self {
            template: Template::new(literal(input)?)?,
            values: Vec::new(),
            krate: None,
        };
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            if input.peek(Token![crate]) {
                this.krate = Some(crate_option(input)?);
                continue;
            }
            let name = input.call(Ident::parse_any).map_err(|error| {
                syn::Error::new(
                    error.span(),
                    "values are given by name: `key!(\"user-{id}\", id = user.id)`",
                )
            })?;
            value_follows(&name, input)?;
            if this.values.iter().any(|(known, _)| *known == name) {
                return Err(syn::Error::new(
                    name.span(),
                    format!("`{name}` is given twice"),
                ));
            }
            this.values.push((name, input.parse()?));
        }
        Ok(this)
    }
}

/// Parses the template. A bare name gets an error of its own, because the compiler suggests it
/// where a placeholder is misspelt.
fn literal(input: ParseStream<'_>) -> syn::Result<LitStr> {
    let name = input.fork().call(Ident::parse_any);
    input.parse().map_err(|error| {
        let name = name.map_or_else(|_| "id".to_owned(), |name| name.to_string());
        let message = format!(
            "the key is a template in quotes, with names in braces: `key!(\"user-{{{name}}}\")`"
        );
        syn::Error::new(error.span(), message)
    })
}

/// Parses `crate = ".."`.
pub(crate) fn crate_option(input: ParseStream<'_>) -> syn::Result<Path> {
    input.parse::<Token![crate]>()?;
    input.parse::<Token![=]>()?;
    krate::parse(&input.parse()?)
}

pub(crate) fn key(input: &KeyInput) -> syn::Result<TokenStream> {
    let KeyInput {
        template,
        values,
        krate,
    } = input;
    if let Some((name, _)) = values.iter().find(|(name, _)| !template.has(name)) {
        return Err(syn::Error::new(
            name.span(),
            format!("`{name}` is given, but the template has no `{{{name}}}`"),
        ));
    }
    let private = krate::private(krate.as_ref());
    Ok(
        template.render(&private, &Given::new(values), |placeholder| {
            placeholder.value(&placeholder.root.to_token_stream(), template.span())
        }),
    )
}

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let DeriveInput {
        ident,
        generics,
        attrs,
        data,
        ..
    } = input;
    let Data::Struct(data) = data else {
        return Err(syn::Error::new(
            ident.span(),
            "`CacheKey` is for structs: implement it by hand, with `key!`",
        ));
    };
    let (template, krate) = key_attribute(attrs, ident.span())?;
    let private = krate::private(krate.as_ref());

    let mut generics = generics.clone();
    for placeholder in &template.placeholders {
        let field = field(&template, placeholder, &data.fields)?;
        if placeholder.fields.is_empty() && mentions_generics(field, &generics) {
            let ty = &field.ty;
            generics
                .make_where_clause()
                .predicates
                .push(parse_quote!(#ty: #private::KeyPart));
        }
    }
    let statics = template.statics(&private);
    // At the template, so that the compiler's error about a field without `KeyPart` points there.
    let this = Ident::new("self", template.span());
    let values = template.placeholders.iter().map(|placeholder| {
        let root = &placeholder.root;
        let value = placeholder.value(&quote!(#this.#root), template.span());
        quote_spanned!(template.span()=> &#value)
    });
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #private::CacheKey for #ident #type_generics #where_clause {
            fn key(&#this) -> #private::Key {
                <Self as #private::CacheKey>::template().render(&[#(#values),*])
            }

            fn template() -> &'static #private::KeyTemplate {
                #statics
                &__CACHIFY_TEMPLATE
            }
        }
    })
}

/// Parses `#[key("template", crate = "..")]`.
fn key_attribute(attrs: &[Attribute], span: Span) -> syn::Result<(Template, Option<Path>)> {
    let mut found = attrs.iter().filter(|attr| attr.path().is_ident("key"));
    let Some(attr) = found.next() else {
        return Err(syn::Error::new(
            span,
            "`CacheKey` needs the template: add `#[key(\"user-{user_id}\")]`",
        ));
    };
    if let Some(second) = found.next() {
        return Err(syn::Error::new(
            second.span(),
            "`#[key(..)]` is given twice",
        ));
    }
    attr.parse_args_with(|input: ParseStream<'_>| {
        let template = Template::new(input.parse::<LitStr>()?)?;
        let mut krate = None;
        if input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            krate = Some(crate_option(input)?);
            input.parse::<Option<Token![,]>>()?;
        }
        Ok((template, krate))
    })
}

fn field<'a>(
    template: &Template,
    placeholder: &Placeholder,
    fields: &'a syn::Fields,
) -> syn::Result<&'a Field> {
    let named = |field: &&Field| {
        let name = field.ident.as_ref();
        name.is_some_and(|name| name.unraw() == placeholder.root.unraw())
    };
    fields.iter().find(named).ok_or_else(|| {
        let names = fields.iter().filter_map(|field| field.ident.as_ref());
        template.unknown(
            placeholder,
            "field of the struct",
            names.map(|name| name.unraw().to_string()),
        )
    })
}

fn mentions_generics(field: &Field, generics: &syn::Generics) -> bool {
    struct Finder<'a>(&'a syn::Generics, bool);
    impl<'ast> Visit<'ast> for Finder<'_> {
        fn visit_ident(&mut self, ident: &'ast Ident) {
            self.1 |= self.0.type_params().any(|param| param.ident == *ident);
        }
    }
    let mut finder = Finder(generics, false);
    finder.visit_type(&field.ty);
    finder.1
}
