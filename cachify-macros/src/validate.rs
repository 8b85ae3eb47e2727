//! Checks of input that parses. Each mistake is reported once, at its place, with the fix.

use quote::ToTokens as _;
use syn::visit::{self, Visit};
use syn::{
    Expr, ExprLit, GenericArgument, Ident, Item, Lit, PathArguments, ReturnType, TraitBound, Type,
    TypePath, TypeReference,
};

use crate::args::{Kind, Layer, Time, ungrouped};
use crate::function::{Function, names_in};
use crate::place::{self, Place};
use crate::template::Placeholder;

/// The prefix of every name that an expansion adds to a function's body.
pub(crate) const MARK: &str = "__cachify_";

pub(crate) fn function(
    function: &Function,
    first: &Layer,
    is_method: bool,
    has_companions: bool,
    options_name_self_type: bool,
) -> syn::Result<()> {
    let sig = &function.item.sig;
    let refused = [
        sig.constness.map(|token| (token.span, "a `const fn`")),
        sig.unsafety.map(|token| (token.span, "an `unsafe fn`")),
        sig.abi
            .as_ref()
            .map(|abi| (abi.extern_token.span, "an `extern` function")),
    ];
    if let Some((span, item)) = refused.into_iter().flatten().next() {
        let message = format!("`{}` cannot be on {item}", first.kind);
        return Err(syn::Error::new(span, message));
    }
    let names = names_in(function.item.block.to_token_stream());
    if names.iter().any(|name| name.starts_with(MARK)) {
        return Err(syn::Error::new(
            first.span,
            format!(
                "this attribute is below another one of cachify, which did not recognize its name: \
                 write `{}` here instead of the name that `use .. as ..` gave it",
                first.kind
            ),
        ));
    }
    if sig.asyncness.is_none() && returns_future(&sig.output) {
        return Err(syn::Error::new_spanned(
            &sig.output,
            format!(
                "`{}` cannot be on a function that returns a future: make it an `async fn`, or, if \
                 `#[async_trait]` turned it into this, have the method call a function that has \
                 the attribute",
                first.kind
            ),
        ));
    }
    let is_without_self = !is_method && !function.has_receiver();
    // The file is read only if the function may be in the wrong place.
    let indented = sig.fn_token.span.unwrap().start().column() > 1;
    let place = (has_companions && (function.has_receiver() || is_method || indented))
        .then(|| place::of(&sig.ident))
        .flatten();
    if place == Some(Place::Trait) {
        return Err(syn::Error::new(
            first.span,
            format!(
                "`{}` cannot add companions to the methods of a trait: add `companion = none`",
                first.kind
            ),
        ));
    }
    let is_associated = place == Some(Place::Inherent)
        || options_name_self_type
        || is_without_self && names_self_type(function);
    if is_without_self && is_associated {
        return Err(syn::Error::new(
            first.span,
            format!(
                "`{}` cannot see that this function is in an `impl` block, since it has no `self`: \
                 add `method`",
                first.kind
            ),
        ));
    }
    Ok(())
}

/// Returns whether the function names `Self`, and so must be in an `impl` block.
fn names_self_type(function: &Function) -> bool {
    struct Finder(bool);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_ident(&mut self, ident: &'ast Ident) {
            self.0 |= ident == "Self";
        }
        // An item inside the body has a `Self` of its own.
        fn visit_item(&mut self, _: &'ast Item) {}
    }
    let mut finder = Finder(false);
    finder.visit_item_fn(&function.item);
    finder.0
}

fn returns_future(output: &ReturnType) -> bool {
    struct Finder(bool);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_type_path(&mut self, path: &'ast TypePath) {
            let last = path.path.segments.last();
            self.0 |= last
                .is_some_and(|last| last.ident == "BoxFuture" || last.ident == "LocalBoxFuture");
            visit::visit_type_path(self, path);
        }

        fn visit_trait_bound(&mut self, bound: &'ast TraitBound) {
            let last = bound.path.segments.last();
            self.0 |= last.is_some_and(|last| last.ident == "Future");
            visit::visit_trait_bound(self, bound);
        }
    }
    let mut finder = Finder(false);
    finder.visit_return_type(output);
    finder.0
}

/// Checks one attribute.
pub(crate) fn layer(function: &Function, layer: &Layer) -> syn::Result<()> {
    placeholders(function, layer)?;
    times(layer)?;
    holds(layer)?;
    if let (Some(_), Some(ttl_with)) = (&layer.ttl, &layer.ttl_with) {
        return Err(syn::Error::new_spanned(
            ttl_with,
            "`ttl_with` sets the time to live of every value: leave out `ttl`",
        ));
    }
    if layer.kind == Kind::Cached {
        lengths(layer)?;
        return value(function);
    }
    Ok(())
}

/// Checks the times of a cached function that are lengths, and what they need.
fn lengths(layer: &Layer) -> syn::Result<()> {
    for (name, time) in [
        ("stale", &layer.refresh.stale),
        ("soft_limit", &layer.refresh.soft_limit),
        ("hard_limit", &layer.refresh.hard_limit),
    ] {
        let (span, why) = match time {
            Some(Time::Never(span)) => (*span, "cannot be forever"),
            Some(Time::Millis(0, span)) => (*span, "cannot be zero"),
            _ => continue,
        };
        let message = format!("`{name}` {why}: give a time, such as \"1m\", or leave it out");
        return Err(syn::Error::new(span, message));
    }
    let (served, limit) = (layer.refresh.serves_old_values(), &layer.refresh.soft_limit);
    match limit.as_ref().map(Time::span) {
        Some(span) if !served => Err(syn::Error::new(
            span,
            "after `soft_limit` the old value is served, and without `stale` or `refresh_early` \
             there is none: give one of them, or `hard_limit` to end the computation",
        )),
        _ => Ok(()),
    }
}

/// Refuses return types that cannot be cached, as far as their names show it.
fn value(function: &Function) -> syn::Result<()> {
    let output = &function.item.sig.output;
    if function.returns_impl() {
        let names = names_in(output.to_token_stream());
        let is_response = ["IntoResponse", "Reply"]
            .iter()
            .any(|name| names.contains(*name));
        let message = if is_response {
            "a response cannot be cached: cache the value that it is made of, in a function of its \
             own, or put the cache layer of the adapter on the route"
        } else {
            "a cached value needs a type with a name, since it outlives the function: name it \
             instead of `impl ..`"
        };
        return Err(syn::Error::new_spanned(output, message));
    }
    let ReturnType::Type(_, returns) = output else {
        return Ok(());
    };
    match reference(returns) {
        Some(reference) => {
            let owned = match &*reference.elem {
                Type::Path(path) if path.path.is_ident("str") => "`String` or `Arc<str>`",
                Type::Slice(_) => "a `Vec` or an `Arc<[..]>`",
                _ => "the value itself or an `Arc` of it",
            };
            Err(syn::Error::new_spanned(
                reference,
                format!(
                    "a cached value outlives the call, so it cannot be a reference: return {owned}"
                ),
            ))
        }
        None => Ok(()),
    }
}

/// Finds a reference in the cached part of a type: the type itself, the `Ok` of a `Result`, or the
/// items of the usual containers.
fn reference(ty: &Type) -> Option<&TypeReference> {
    match ty {
        Type::Reference(reference) => Some(reference),
        Type::Group(group) => reference(&group.elem),
        Type::Paren(paren) => reference(&paren.elem),
        Type::Array(array) => reference(&array.elem),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(reference),
        Type::Path(TypePath { path, .. }) => {
            let last = path.segments.last()?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            let mut types = arguments.args.iter().filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            });
            let held = match &*last.ident.to_string() {
                "Result" | "Option" | "Vec" | "VecDeque" | "Box" | "Arc" | "HashSet"
                | "BTreeSet" => 1,
                "HashMap" | "BTreeMap" => 2,
                _ => 0,
            };
            types.by_ref().take(held).find_map(reference)
        }
        _ => None,
    }
}

/// Refuses attributes that cannot be combined on one function.
pub(crate) fn stack(layers: &[Layer]) -> syn::Result<()> {
    let of = |kind| layers.iter().filter(move |layer| layer.kind == kind);
    if let (Some(once), Some(locked)) = (of(Kind::Once).next(), of(Kind::Locked).next()) {
        return Err(syn::Error::new(
            once.span,
            format!(
                "`{}` refuses where `{}` waits, so they cannot be on one function: use one of them",
                once.kind, locked.kind
            ),
        ));
    }
    if let Some(second) = of(Kind::Pooled).nth(1) {
        return Err(syn::Error::new(
            second.span,
            "two `#[pooled]` on one function, and `in_use` could mean either: acquire the second \
             permit in the body, by `cachify.pool(..)`",
        ));
    }
    Ok(())
}

fn placeholders(function: &Function, layer: &Layer) -> syn::Result<()> {
    let given =
        |placeholder: &&Placeholder| layer.values.iter().any(|(name, _)| placeholder.is_of(name));
    for placeholder in layer
        .template
        .placeholders
        .iter()
        .filter(|placeholder| !given(placeholder))
    {
        let known = match &*placeholder.root.to_string() {
            "self" => function.has_receiver(),
            _ => function.binding(&placeholder.root).is_some(),
        };
        if !known {
            let receiver = function.has_receiver().then(|| "self".to_owned());
            let names = function.bindings.iter().map(|binding| binding.name.clone());
            let place = format!("parameter of `{}`", function.item.sig.ident);
            return Err(layer.template.unknown(
                placeholder,
                &place,
                receiver.into_iter().chain(names),
            ));
        }
    }
    Ok(())
}

/// Checks the options of a lock or pool about failures, and the size of a pool.
fn holds(layer: &Layer) -> syn::Result<()> {
    if layer.kind == Kind::Pooled {
        match &layer.max {
            None => {
                let message = format!("`{}` needs the number of permits: `max = 10`", layer.kind);
                return Err(syn::Error::new(layer.span, message));
            }
            Some(max) if is_zero(max) => {
                let message = "a pool without permits admits no caller: give it at least 1";
                return Err(syn::Error::new_spanned(max, message));
            }
            Some(_) => {}
        }
    }
    match (&layer.on_error, &layer.map_err) {
        (Some(_), Some(map_err)) => Err(syn::Error::new_spanned(
            map_err,
            "`on_error` and `map_err` exclude each other: give one of them",
        )),
        _ => Ok(()),
    }
}

fn is_zero(value: &Expr) -> bool {
    let Expr::Lit(ExprLit {
        lit: Lit::Int(number),
        ..
    }) = ungrouped(value)
    else {
        return false;
    };
    number.base10_parse::<u32>().is_ok_and(|number| number == 0)
}

fn times(layer: &Layer) -> syn::Result<()> {
    let is_lock = layer.kind != Kind::Cached;
    match &layer.ttl {
        Some(Time::Never(span)) if is_lock => Err(syn::Error::new(
            *span,
            "a lock that never expires would outlive a dead holder: give a time, which a live \
             holder renews",
        )),
        Some(Time::Millis(0, span)) if !is_lock => Err(syn::Error::new(
            *span,
            "a `ttl` of zero stores nothing: give a time, or \"never\" for an entry that does not \
             expire",
        )),
        ttl => {
            if is_lock {
                at_least_a_second("ttl", ttl.as_ref())?;
            }
            at_least_a_second("max_hold", layer.max_hold.as_ref())?;
            match &layer.wait {
                Some(Time::Never(span)) => Err(syn::Error::new(
                    *span,
                    "`wait` takes a length of time, such as \"2s\"",
                )),
                _ => Ok(()),
            }
        }
    }
}

fn at_least_a_second(name: &str, time: Option<&Time>) -> syn::Result<()> {
    match time {
        Some(Time::Millis(0..1000, span)) => Err(syn::Error::new(
            *span,
            format!(
                "the `{name}` of a lock must be at least 1 s, so that it can be renewed in time"
            ),
        )),
        Some(Time::Never(span)) => Err(syn::Error::new(
            *span,
            format!("`{name}` takes a length of time, such as \"30s\"; leave it out for no limit"),
        )),
        _ => Ok(()),
    }
}
