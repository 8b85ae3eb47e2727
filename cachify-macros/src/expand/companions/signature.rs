//! The signatures of companions: the parameters of the function that they take, and their types.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{Expr, Ident, Type};

use super::{Companions, Method};
use crate::args::Layer;
use crate::function::Binding;
use crate::template::{Given, Placeholder};

/// The source of a placeholder's value in a companion.
enum Part<'a> {
    /// The argument that the placeholder names.
    Argument(&'a Placeholder),
    /// An expression that uses these arguments.
    Of(Vec<&'a Binding>),
    /// The caller of the companion, because the expression uses a name inside a pattern, whose type
    /// is unknown.
    Whole(&'a Placeholder, Vec<&'a Binding>),
}

impl Companions<'_> {
    pub(super) fn method(&self, layers: &[&Layer], method: Method<'_>) -> syn::Result<TokenStream> {
        let Method {
            name,
            doc,
            value,
            output,
            mentions,
            body,
        } = method;
        let Self { context, cfgs, .. } = self;
        let private = &context.private;
        let function = &context.function;
        let item = &function.item;

        let mut params: Vec<TokenStream> = Vec::new();
        if let Some(receiver) = item.sig.receiver() {
            let this = receiver.self_token;
            params.push(quote!(&#this));
        }
        if self.takes_handle(layers)? {
            let handle = self.handle();
            params.push(quote!(#handle: &#private::Cachify));
        }
        params.extend(self.params(layers));
        if let Some((value, ty)) = value {
            params.push(quote!(#value: #ty));
        }
        let generics = function.generics_of(quote!(#(#params)* #mentions));
        let (impl_generics, _, where_clause) = generics.split_for_impl();
        let ident = if context.is_method() {
            format_ident!("{}_{name}", self.name, span = self.name.span())
        } else {
            format_ident!("{name}")
        };
        let vis = &item.vis;
        let (asyncness, body) = if context.is_sync() {
            (None, context.outcome(&quote!(async move { #body }), true))
        } else {
            (Some(quote!(async)), body)
        };
        // Methods carry the conditions of the function themselves; the enum carries them for the
        // others.
        let cfgs = context.is_method().then_some(cfgs);
        Ok(quote! {
            #cfgs
            #[doc = #doc]
            #[allow(dead_code, clippy::needless_pass_by_value, clippy::too_many_arguments)]
            #vis #asyncness fn #ident #impl_generics (#(#params),*)
                -> ::core::result::Result<#output, #private::Error>
            #where_clause
            {
                #body
            }
        })
    }

    /// Returns the parameters that the layers' templates name, in the order of the signature. They
    /// are taken by reference. A parameter that an expression uses is taken as the function takes
    /// it, so that the expression means the same here.
    fn params(&self, layers: &[&Layer]) -> Vec<TokenStream> {
        let function = &self.context.function;
        let private = &self.context.private;
        let parts = || layers.iter().flat_map(|layer| self.parts(layer));
        let mut params = Vec::new();
        let mut seen = BTreeSet::new();
        for binding in &function.bindings {
            let is_this = |other: &Binding| other.name == binding.name;
            let is_used = || {
                let is_of =
                    |part| matches!(part, Part::Of(used) if used.iter().any(|used| is_this(used)));
                parts().any(is_of)
            };
            if let Some(ty) = binding.ty.as_ref().filter(|_| is_used()) {
                let (ident, mut ty) = (&binding.ident, ty.clone());
                function.elide(&mut ty);
                params.push(quote!(#ident: #ty));
                continue;
            }
            for part in parts() {
                let (ident, ty) = match (part, &binding.ty) {
                    (Part::Argument(placeholder), Some(ty)) if self.is_of(placeholder, binding) => {
                        (binding.ident.clone(), self.by_reference(ty))
                    }
                    (Part::Argument(placeholder), None) if self.is_of(placeholder, binding) => {
                        let any = quote!(&(impl #private::KeyPart + ?::core::marker::Sized));
                        (self.part(placeholder, &binding.ident), any)
                    }
                    (Part::Whole(placeholder, used), _)
                        if used.first().is_some_and(|used| is_this(used)) =>
                    {
                        let any = quote!(&(impl #private::KeyPart + ?::core::marker::Sized));
                        (self.part(placeholder, &placeholder.root), any)
                    }
                    _ => continue,
                };
                if seen.insert(ident.to_string()) {
                    params.push(quote!(#ident: #ty));
                }
            }
        }
        params
    }

    fn is_of(&self, placeholder: &Placeholder, binding: &Binding) -> bool {
        let found = self.context.function.binding(&placeholder.root);
        found.is_some_and(|found| found.name == binding.name)
    }

    /// Returns the sources of the values of a layer's placeholders.
    fn parts<'l>(&'l self, layer: &'l Layer) -> impl Iterator<Item = Part<'l>> {
        layer.template.placeholders.iter().map(|placeholder| {
            let given = layer
                .values
                .iter()
                .find(|(name, _)| placeholder.is_of(name));
            let Some((_, expression)) = given else {
                return Part::Argument(placeholder);
            };
            let used: Vec<_> = self.context.function.used_by(expression).collect();
            if used.iter().any(|binding| binding.ty.is_none()) {
                Part::Whole(placeholder, used)
            } else {
                Part::Of(used)
            }
        })
    }

    fn by_reference(&self, ty: &Type) -> TokenStream {
        let mut ty = ty.clone();
        self.context.function.elide(&mut ty);
        match &ty {
            Type::Reference(reference) => {
                let ty = &reference.elem;
                quote!(&#ty)
            }
            Type::ImplTrait(_) | Type::TraitObject(_) => quote!(&(#ty)),
            // So that `reset("acme")` compiles too.
            Type::Path(path) if path.path.is_ident("String") => quote!(&::core::primitive::str),
            _ => quote!(&#ty),
        }
    }

    pub(super) fn handle(&self) -> Ident {
        let name = self.context.function.free_name("cachify".to_owned());
        format_ident!("{name}")
    }

    /// Returns whether the handle comes from the function's arguments, so that a companion must
    /// take a handle.
    fn takes_handle(&self, layers: &[&Layer]) -> syn::Result<bool> {
        let mut by_argument = layers.iter().filter_map(|layer| self.with_argument(layer));
        let Some(first) = by_argument.next() else {
            return Ok(false);
        };
        let text = |with: &Expr| with.to_token_stream().to_string();
        match by_argument.find(|with| text(with) != text(first)) {
            Some(other) => Err(syn::Error::new_spanned(
                other,
                "two attributes take different handles from the arguments, but a companion takes \
                 one: add `companion = none`",
            )),
            None => Ok(true),
        }
    }

    fn with_argument<'l>(&self, layer: &'l Layer) -> Option<&'l Expr> {
        let with = layer.with.as_ref()?;
        self.context.function.is_used_by(with).then_some(with)
    }

    pub(super) fn source(&self, layer: &Layer) -> TokenStream {
        if self.with_argument(layer).is_some() {
            let (private, handle) = (&self.context.private, self.handle());
            return quote!(#private::Given(#handle));
        }
        self.context.source(layer)
    }

    pub(super) fn key(&self, layer: &Layer) -> TokenStream {
        let template = &layer.template;
        let function = &self.context.function;
        let is_typed =
            |(_, value): &&(Ident, Expr)| function.used_by(value).all(|used| used.ty.is_some());
        let given = Given::new(layer.values.iter().filter(is_typed));
        template.render(&self.context.private, &given, |placeholder| {
            if layer.values.iter().any(|(name, _)| placeholder.is_of(name)) {
                return self.part(placeholder, &placeholder.root).to_token_stream();
            }
            match function.binding(&placeholder.root) {
                Some(binding) if binding.ty.is_none() => {
                    self.part(placeholder, &binding.ident).to_token_stream()
                }
                _ => {
                    let argument = function.argument(template, placeholder);
                    placeholder.value(&argument.to_token_stream(), template.span())
                }
            }
        })
    }

    /// Returns the parameter for a placeholder that names a part of a pattern.
    fn part(&self, placeholder: &Placeholder, root: &Ident) -> Ident {
        if placeholder.fields.is_empty() {
            return root.clone();
        }
        let name = placeholder.name.replace('.', "_");
        let name = self.context.function.free_name(name);
        format_ident!("{name}", span = placeholder.root.span())
    }
}
