//! The annotated function: its parameters, its generics and its return type.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt as _;
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Expr, ExprClosure, ExprPath, FnArg, GenericParam, Generics, Ident, ItemFn, Lifetime, Macro,
    Pat, PatIdent, PatType, ReturnType, Token, Type, TypeImplTrait, TypeParamBound, TypeReference,
    WherePredicate, parse_quote,
};

use crate::template::{Placeholder, Template};

pub(crate) struct Function {
    pub(crate) item: ItemFn,
    pub(crate) bindings: Vec<Binding>,
}

/// A name that the parameters bind.
pub(crate) struct Binding {
    /// The name without `r#`.
    pub(crate) name: String,
    pub(crate) ident: Ident,
    /// The type; `None` for a name inside a pattern.
    pub(crate) ty: Option<Type>,
}

impl Function {
    pub(crate) fn new(item: ItemFn) -> Self {
        let mut bindings = Vec::new();
        for input in &item.sig.inputs {
            let FnArg::Typed(PatType { pat, ty, .. }) = input else {
                continue;
            };
            if let Pat::Ident(PatIdent {
                ident,
                subpat: None,
                by_ref: None,
                ..
            }) = &**pat
            {
                bindings.push(Binding::new(ident, Some(ungrouped(ty).clone())));
            } else {
                Names(&mut bindings).visit_pat(pat);
            }
        }
        Self { item, bindings }
    }

    /// Returns whether the function takes only owned arguments by plain names, and no generics: its
    /// body can be a function of its own, with a future that is `'static`.
    pub(crate) fn is_owned(&self) -> bool {
        struct Borrows(bool);
        impl<'ast> Visit<'ast> for Borrows {
            fn visit_type_reference(&mut self, _: &'ast TypeReference) {
                self.0 = true;
            }
            fn visit_lifetime(&mut self, _: &'ast Lifetime) {
                self.0 = true;
            }
            fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
                self.0 = true;
            }
        }
        let sig = &self.item.sig;
        let mut borrows = Borrows(!sig.generics.params.is_empty());
        for input in &sig.inputs {
            match input {
                FnArg::Typed(PatType { pat, ty, attrs, .. })
                    if attrs.is_empty()
                        && matches!(&**pat, Pat::Ident(name) if name.subpat.is_none()) =>
                {
                    borrows.visit_type(ty);
                }
                _ => return false,
            }
        }
        !borrows.0
    }

    /// Returns the function with parameters that are not `mut`.
    pub(crate) fn without_mut(&self) -> ItemFn {
        let mut item = self.item.clone();
        for input in &mut item.sig.inputs {
            if let FnArg::Typed(PatType { pat, .. }) = input
                && let Pat::Ident(name) = &mut **pat
            {
                name.mutability = None;
            }
        }
        item
    }

    pub(crate) fn has_receiver(&self) -> bool {
        self.item.sig.receiver().is_some()
    }

    pub(crate) fn binding(&self, name: &Ident) -> Option<&Binding> {
        self.binding_of(&name.unraw().to_string())
    }

    fn binding_of(&self, name: &str) -> Option<&Binding> {
        self.bindings.iter().find(|binding| binding.name == name)
    }

    /// Returns a name that no argument has: `wanted`, with as many `_` appended as needed.
    pub(crate) fn free_name(&self, mut wanted: String) -> String {
        while self.binding_of(&wanted).is_some() {
            wanted.push('_');
        }
        wanted
    }

    /// Returns the argument that a placeholder begins with. It is found by its text, because the
    /// template and the arguments may come from different macros. Its location is that of the
    /// template, so that errors point there.
    pub(crate) fn argument(&self, template: &Template, placeholder: &Placeholder) -> Ident {
        let mut argument = match (self.binding(&placeholder.root), self.item.sig.receiver()) {
            (Some(binding), _) => binding.ident.clone(),
            (None, Some(receiver)) => Ident::new("self", receiver.self_token.span),
            (None, None) => placeholder.root.clone(),
        };
        argument.set_span(argument.span().located_at(template.span()));
        argument
    }

    /// Returns whether `expression` uses an argument.
    pub(crate) fn is_used_by(&self, expression: &Expr) -> bool {
        self.used_by(expression).next().is_some()
    }

    /// Returns the arguments that `expression` uses.
    pub(crate) fn used_by(&self, expression: &Expr) -> impl Iterator<Item = &Binding> {
        let mut values = Values::default();
        values.visit_expr(expression);
        let is_used = move |binding: &&Binding| values.used.contains(&binding.name);
        self.bindings.iter().filter(is_used)
    }

    /// Returns the return type, with `_` for an `impl Trait`.
    pub(crate) fn returns(&self) -> Type {
        match &self.item.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => {
                let mut ty = ungrouped(ty).clone();
                EraseImplTrait.visit_type_mut(&mut ty);
                ty
            }
        }
    }

    pub(crate) fn returns_impl(&self) -> bool {
        names_in(self.item.sig.output.to_token_stream()).contains("impl")
    }

    /// Returns the generics of the function that `tokens` mention, with those bounds that mention
    /// no other generics.
    pub(crate) fn generics_of(&self, tokens: TokenStream) -> Generics {
        let generics = &self.item.sig.generics;
        let used = names_in(tokens);
        let unused: BTreeSet<_> = generics
            .params
            .iter()
            .map(name)
            .filter(|name| !used.contains(name))
            .collect();
        let stays = |tokens: &dyn ToTokens| names_in(tokens.to_token_stream()).is_disjoint(&unused);

        let mut kept = Generics::default();
        for param in &generics.params {
            if unused.contains(&name(param)) {
                continue;
            }
            let mut param = param.clone();
            if let GenericParam::Type(param) = &mut param {
                retain(&mut param.bounds, &stays);
            }
            kept.params.push(param);
        }
        for predicate in generics
            .where_clause
            .iter()
            .flat_map(|clause| &clause.predicates)
        {
            let WherePredicate::Type(predicate) = predicate else {
                continue;
            };
            let of_ours = names_in(predicate.bounded_ty.to_token_stream());
            if of_ours.is_disjoint(&unused)
                && kept
                    .params
                    .iter()
                    .any(|param| of_ours.contains(&name(param)))
            {
                let mut predicate = predicate.clone();
                retain(&mut predicate.bounds, &stays);
                kept.make_where_clause()
                    .predicates
                    .push(WherePredicate::Type(predicate));
            }
        }
        kept
    }

    /// Replaces the function's own lifetimes in a type by `'_`.
    pub(crate) fn elide(&self, ty: &mut Type) {
        Elide(&self.item.sig.generics).visit_type_mut(ty);
    }
}

impl Binding {
    fn new(ident: &Ident, ty: Option<Type>) -> Self {
        Self {
            name: ident.unraw().to_string(),
            ident: ident.clone(),
            ty,
        }
    }
}

/// Removes the invisible delimiters that a user's macro put around a type.
fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        ty => ty,
    }
}

/// Returns the name of a generic parameter. Lifetimes keep their tick, which tells `'a` from `a`.
fn name(param: &GenericParam) -> String {
    match param {
        GenericParam::Lifetime(param) => param.lifetime.to_string(),
        GenericParam::Type(param) => param.ident.to_string(),
        GenericParam::Const(param) => param.ident.to_string(),
    }
}

fn retain(
    bounds: &mut Punctuated<TypeParamBound, Token![+]>,
    stays: &dyn Fn(&dyn ToTokens) -> bool,
) {
    *bounds = std::mem::take(bounds)
        .into_iter()
        .filter(|bound| stays(bound))
        .collect();
}

/// Returns all names in `tokens`, including those in groups and macro calls. They are without `r#`;
/// lifetimes keep their tick.
pub(crate) fn names_in(tokens: TokenStream) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect_names(tokens, &mut names);
    names
}

fn collect_names(tokens: TokenStream, into: &mut BTreeSet<String>) {
    let mut tick = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if tick => _ = into.insert(format!("'{ident}")),
            TokenTree::Ident(ident) => _ = into.insert(ident.unraw().to_string()),
            TokenTree::Group(ref group) => collect_names(group.stream(), into),
            TokenTree::Punct(ref punct) => {
                tick = punct.as_char() == '\'';
                continue;
            }
            TokenTree::Literal(_) => {}
        }
        tick = false;
    }
}

/// Collects the names that the literals of a macro call may capture, as in `format!("{page:>3}")`.
fn collect_captures(tokens: TokenStream, into: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_captures(group.stream(), into),
            TokenTree::Literal(literal) => {
                for part in literal.to_string().split('{').skip(1) {
                    let name = part
                        .split(|c: char| !c.is_alphanumeric() && c != '_')
                        .next();
                    into.extend(name.map(str::to_owned));
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// The names that an expression uses as values. Names of fields, methods, types and the parameters
/// of its own closures do not count.
#[derive(Default)]
struct Values {
    used: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Values {
    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        if let Some(ident) = path.path.get_ident() {
            self.used.insert(ident.unraw().to_string());
        }
    }

    fn visit_expr_closure(&mut self, closure: &'ast ExprClosure) {
        let mut params = Vec::new();
        for input in &closure.inputs {
            Names(&mut params).visit_pat(input);
        }
        let mut inside = Self::default();
        inside.visit_expr(&closure.body);
        for param in params {
            inside.used.remove(&param.name);
        }
        self.used.append(&mut inside.used);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        collect_names(call.tokens.clone(), &mut self.used);
        collect_captures(call.tokens.clone(), &mut self.used);
    }
}

struct Names<'a>(&'a mut Vec<Binding>);

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_pat_ident(&mut self, pat: &'ast PatIdent) {
        let text = pat.ident.to_string();
        // `None` and other constants look like names here, and both sides of `A(x) | B(x)` bind the
        // same ones.
        let known = self.0.iter().any(|binding| binding.ident == pat.ident);
        if !known && !text.starts_with(char::is_uppercase) {
            self.0.push(Binding::new(&pat.ident, None));
        }
        if let Some((_, pat)) = &pat.subpat {
            self.visit_pat(pat);
        }
    }
}

struct EraseImplTrait;

impl VisitMut for EraseImplTrait {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::ImplTrait(_) = ty {
            *ty = parse_quote!(_);
        } else {
            visit_mut::visit_type_mut(self, ty);
        }
    }
}

struct Elide<'a>(&'a Generics);

impl VisitMut for Elide<'_> {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if self.0.lifetimes().any(|param| param.lifetime == *lifetime) {
            *lifetime = Lifetime::new("'_", lifetime.span());
        }
    }
}
