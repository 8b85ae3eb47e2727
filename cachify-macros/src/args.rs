//! The options of the attributes, as they were written.

use std::fmt;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt as _;
use syn::parse::{Parse as _, ParseStream};
use syn::spanned::Spanned as _;
use syn::{Expr, ExprLit, Ident, Lit, LitInt, LitStr, Path, Token};

use crate::krate;
use crate::template::Template;

/// Which attribute it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Cached,
    Once,
    Locked,
    Pooled,
}

impl What {
    const ALL: [Self; 4] = [Self::Cached, Self::Once, Self::Locked, Self::Pooled];

    /// The attribute by the last segment of its path.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let last = &path.segments.last()?.ident;
        Self::ALL.into_iter().find(|what| last == what.name())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Once => "once",
            Self::Locked => "locked",
            Self::Pooled => "pooled",
        }
    }

    /// Those of its own. All have [`COMMON`] as well.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Cached => &["ttl", "ttl_with", "cache_if", "jitter"],
            Self::Once => &[
                "ttl",
                "max_hold",
                "on_locked",
                "on_error",
                "on_unavailable",
                "map_err",
            ],
            Self::Locked => &[
                "ttl",
                "wait",
                "max_hold",
                "on_locked",
                "on_error",
                "on_unavailable",
                "map_err",
            ],
            Self::Pooled => &[
                "max",
                "ttl",
                "wait",
                "max_hold",
                "on_full",
                "on_error",
                "on_unavailable",
                "map_err",
            ],
        }
    }
}

const COMMON: [&str; 5] = ["key", "with", "companion", "method", "crate"];

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#[{}]", self.name())
    }
}

/// One attribute.
pub(crate) struct Layer {
    pub(crate) what: What,
    pub(crate) span: Span,
    pub(crate) template: Template,
    pub(crate) with: Option<Expr>,
    pub(crate) ttl: Option<Time>,
    pub(crate) ttl_with: Option<Expr>,
    pub(crate) cache_if: Option<Expr>,
    pub(crate) jitter: Option<Expr>,
    pub(crate) wait: Option<Time>,
    pub(crate) max_hold: Option<Time>,
    pub(crate) max: Option<Expr>,
    /// `on_locked` or `on_full`.
    pub(crate) on_contended: Option<Expr>,
    pub(crate) on_error: Option<Expr>,
    pub(crate) on_unavailable: Option<Expr>,
    pub(crate) map_err: Option<Expr>,
    pub(crate) place: Place,
}

/// What concerns the function as a whole, whichever of its attributes says it.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) companion: Option<Companion>,
    pub(crate) method: Option<Span>,
    pub(crate) krate: Option<Path>,
}

pub(crate) struct Companion {
    pub(crate) span: Span,
    /// `None` for `none`.
    pub(crate) name: Option<Ident>,
}

/// A length of time.
pub(crate) enum Time {
    Never(Span),
    Millis(u64, Span),
    Given(Expr),
}

impl Layer {
    pub(crate) fn parse(what: What, span: Span, input: ParseStream<'_>) -> syn::Result<Self> {
        let mut key: Option<LitStr> = None;
        let mut seen: Vec<String> = Vec::new();
        let (mut with, mut ttl, mut ttl_with, mut cache_if, mut jitter) =
            (None, None, None, None, None);
        let (mut wait, mut max_hold, mut max, mut on_contended) = (None, None, None, None);
        let (mut on_error, mut on_unavailable, mut map_err) = (None, None, None);
        let mut place = Place::default();
        while !input.is_empty() {
            let name = input.call(Ident::parse_any).map_err(|error| {
                syn::Error::new(
                    error.span(),
                    "an option has a name, as in `key = \"user-{user_id}\"`",
                )
            })?;
            let text = name.to_string();
            if !what.options().contains(&&*text) && !COMMON.contains(&&*text) {
                return Err(unknown(what, &name));
            }
            if seen.contains(&text) {
                return Err(syn::Error::new(
                    name.span(),
                    format!("`{text}` is given twice"),
                ));
            }
            if text == "method" {
                place.method = Some(name.span());
            } else {
                value_follows(&name, input)?;
                match &*text {
                    "key" => key = Some(input.parse().map_err(|error| key_is_text(&error))?),
                    "with" => with = Some(Expr::parse(input)?),
                    "companion" => place.companion = Some(Companion::parse(input)?),
                    "crate" => place.krate = Some(krate::parse(&input.parse()?)?),
                    "ttl" => ttl = Some(Time::parse(input)?),
                    "wait" => wait = Some(Time::parse(input)?),
                    "max_hold" => max_hold = Some(Time::parse(input)?),
                    "ttl_with" => ttl_with = Some(Expr::parse(input)?),
                    "cache_if" => cache_if = Some(Expr::parse(input)?),
                    "jitter" => jitter = Some(Expr::parse(input)?),
                    "max" => max = Some(Expr::parse(input)?),
                    "on_locked" | "on_full" => on_contended = Some(Expr::parse(input)?),
                    "on_error" => on_error = Some(Expr::parse(input)?),
                    "on_unavailable" => on_unavailable = Some(Expr::parse(input)?),
                    "map_err" => map_err = Some(Expr::parse(input)?),
                    _ => return Err(unknown(what, &name)),
                }
            }
            seen.push(text);
            if input.is_empty() {
                break;
            }
            input.parse::<Token![,]>()?;
        }
        let Some(key) = key else {
            return Err(syn::Error::new(
                span,
                format!("`{what}` needs a key: `key = \"user-{{user_id}}\"`"),
            ));
        };
        Ok(Self {
            what,
            span,
            template: Template::new(key)?,
            with,
            ttl,
            ttl_with,
            cache_if,
            jitter,
            wait,
            max_hold,
            max,
            on_contended,
            on_error,
            on_unavailable,
            map_err,
            place,
        })
    }
}

/// Takes the `=` between a name and its value.
pub(crate) fn value_follows(name: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    let sign = input.parse::<Option<Token![=]>>()?;
    sign.map(drop).ok_or_else(|| {
        let message = format!("`{name}` needs a value: `{name} = ..`");
        syn::Error::new(name.span(), message)
    })
}

fn unknown(what: What, name: &Ident) -> syn::Error {
    if what == What::Cached && name == "stale" {
        return syn::Error::new(
            name.span(),
            "`stale` is not there yet: no value is served after its `ttl`, so leave it out",
        );
    }
    let names = what.options().iter().chain(&COMMON);
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    syn::Error::new(
        name.span(),
        format!(
            "`{what}` has no option `{name}`: it has {}",
            names.join(", ")
        ),
    )
}

fn key_is_text(error: &syn::Error) -> syn::Error {
    syn::Error::new(
        error.span(),
        "the key is a template in quotes, such as `key = \"user-{user_id}\"`",
    )
}

impl Companion {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse().map_err(|error| {
            syn::Error::new(
                error.span(),
                "`companion` takes a name, such as `companion = daily_report`, or `none`",
            )
        })?;
        Ok(Self {
            span: name.span(),
            name: (name != "none").then_some(name),
        })
    }
}

impl Time {
    pub(crate) fn expression(&self) -> Option<&Expr> {
        match self {
            Self::Given(value) => Some(value),
            Self::Never(_) | Self::Millis(..) => None,
        }
    }

    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let value: Expr = input.parse()?;
        let span = value.span();
        match ungrouped(&value) {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => match &*text.value() {
                "never" => Ok(Self::Never(span)),
                text => match millis(text) {
                    Some(millis) => Ok(Self::Millis(millis, span)),
                    None => Err(syn::Error::new(
                        span,
                        "this is no length of time: write a whole number and one of `ms`, `s`, `m`, `h`, `d`, as in \"250ms\" or \"5m\"",
                    )),
                },
            },
            Expr::Lit(ExprLit {
                lit: Lit::Int(number),
                ..
            }) => seconds(number),
            _ => Ok(Self::Given(value)),
        }
    }

    /// An expression of type `Duration`, or `Ttl` where it may be for ever.
    pub(crate) fn tokens(&self, private: &TokenStream) -> TokenStream {
        match self {
            Self::Never(_) => quote!(#private::Ttl::NEVER),
            Self::Millis(millis, _) => quote!(::core::time::Duration::from_millis(#millis)),
            Self::Given(value) => value.to_token_stream(),
        }
    }
}

/// What a user's macro put between invisible delimiters.
pub(crate) fn ungrouped(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => ungrouped(&group.expr),
        value => value,
    }
}

fn millis(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = match text[digits..].trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn seconds(number: &LitInt) -> syn::Result<Time> {
    let seconds = match number.suffix() {
        "" => number.base10_parse::<u64>().ok(),
        _ => None,
    };
    match seconds.and_then(|seconds| seconds.checked_mul(1000)) {
        Some(millis) => Ok(Time::Millis(millis, number.span())),
        None => Err(syn::Error::new(
            number.span(),
            "a plain number is a whole number of seconds; for other units write \"250ms\" or \"5m\"",
        )),
    }
}
