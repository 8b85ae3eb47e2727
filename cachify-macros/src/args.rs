//! The options of the attributes, as they were written.

use std::fmt;

use cachify_syntax::time::{self, TimeError};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt as _;
use syn::parse::{Parse as _, ParseStream};
use syn::spanned::Spanned as _;
use syn::{Expr, ExprLit, ExprUnary, Ident, Lit, LitFloat, LitInt, LitStr, Path, Token, UnOp};

use crate::krate;
use crate::template::Template;

/// One of the four attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cached,
    Once,
    Locked,
    Pooled,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Cached, Self::Once, Self::Locked, Self::Pooled];

    /// Returns the attribute that the last segment of `path` names.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let last = &path.segments.last()?.ident;
        Self::ALL.into_iter().find(|kind| last == kind.name())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Once => "once",
            Self::Locked => "locked",
            Self::Pooled => "pooled",
        }
    }

    /// Returns the options that the attribute has besides [`COMMON`].
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Cached => &[
                "ttl",
                "ttl_with",
                "none_ttl",
                "cache_if",
                "cache_err",
                "jitter",
                "stale",
                "refresh_early",
                "soft_limit",
                "hard_limit",
            ],
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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#[{}]", self.name())
    }
}

/// One attribute with its options.
pub(crate) struct Layer {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    pub(crate) template: Template,
    /// Expressions for placeholders: `page = page.unwrap_or(1)`.
    pub(crate) values: Vec<(Ident, Expr)>,
    pub(crate) with: Option<Expr>,
    pub(crate) ttl: Option<Time>,
    pub(crate) ttl_with: Option<Expr>,
    pub(crate) cache_if: Option<Expr>,
    pub(crate) jitter: Option<Expr>,
    pub(crate) none_ttl: Option<Time>,
    pub(crate) cache_err: Option<Expr>,
    pub(crate) refresh: Refresh,
    pub(crate) wait: Option<Time>,
    pub(crate) max_hold: Option<Time>,
    pub(crate) max: Option<Expr>,
    /// `on_locked` or `on_full`.
    pub(crate) on_contended: Option<Expr>,
    pub(crate) on_error: Option<Expr>,
    pub(crate) on_unavailable: Option<Expr>,
    pub(crate) map_err: Option<Expr>,
    pub(crate) function: FunctionOptions,
}

/// The options of a cached function about old values and slow computations.
#[derive(Default)]
pub(crate) struct Refresh {
    pub(crate) stale: Option<Time>,
    pub(crate) early: Option<Expr>,
    pub(crate) soft_limit: Option<Time>,
    pub(crate) hard_limit: Option<Time>,
}

impl Refresh {
    /// Returns whether a value may be served while it is refreshed.
    pub(crate) fn serves_old_values(&self) -> bool {
        self.stale.is_some() || self.early.is_some()
    }

    /// Parses the value of `option`. Returns `false` if it is none of these.
    fn parse(&mut self, option: &str, input: ParseStream<'_>) -> syn::Result<bool> {
        match option {
            "stale" => self.stale = Some(Time::parse(input)?),
            "refresh_early" => self.early = Some(Expr::parse(input)?),
            "soft_limit" => self.soft_limit = Some(Time::parse(input)?),
            "hard_limit" => self.hard_limit = Some(Time::parse(input)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Options of the function as a whole. Any of its attributes may give them.
#[derive(Default)]
pub(crate) struct FunctionOptions {
    pub(crate) companion: Option<Companion>,
    pub(crate) method: Option<Span>,
    pub(crate) krate: Option<Path>,
}

pub(crate) struct Companion {
    pub(crate) span: Span,
    /// The name of the companions; `None` if `companion = none` leaves them out.
    pub(crate) name: Option<Ident>,
}

/// A length of time.
pub(crate) enum Time {
    Never(Span),
    Millis(u64, Span),
    Given(Expr),
}

impl Layer {
    /// Returns the expressions that decide about a value, which the companion `set` evaluates too.
    pub(crate) fn value_options(&self) -> impl Iterator<Item = &Expr> {
        let times = [
            &self.ttl,
            &self.none_ttl,
            &self.refresh.stale,
            &self.refresh.hard_limit,
            &self.refresh.soft_limit,
        ];
        let times = times.into_iter().flatten().filter_map(Time::expression);
        let others = [
            &self.ttl_with,
            &self.cache_if,
            &self.jitter,
            &self.refresh.early,
        ];
        times.chain(others.into_iter().flatten())
    }

    pub(crate) fn parse(kind: Kind, span: Span, input: ParseStream<'_>) -> syn::Result<Self> {
        let mut key: Option<LitStr> = None;
        let mut seen: Vec<String> = Vec::new();
        let (mut with, mut ttl, mut ttl_with, mut cache_if, mut jitter) =
            (None, None, None, None, None);
        let (mut none_ttl, mut cache_err, mut refresh) = (None, None, Refresh::default());
        let (mut wait, mut max_hold, mut max, mut on_contended) = (None, None, None, None);
        let (mut on_error, mut on_unavailable, mut map_err) = (None, None, None);
        let mut function = FunctionOptions::default();
        let mut values: Vec<(Ident, Expr)> = Vec::new();
        while !input.is_empty() {
            let name = input.call(Ident::parse_any).map_err(|error| {
                syn::Error::new(
                    error.span(),
                    "an option has a name, as in `key = \"user-{user_id}\"`",
                )
            })?;
            let text = name.to_string();
            let is_option = kind.options().contains(&&*text) || COMMON.contains(&&*text);
            if !is_option && !input.peek(Token![=]) {
                let template = key.clone().map(Template::new).transpose()?;
                if template.is_none_or(|template| !template.has(&name)) {
                    return Err(unknown(kind, &name));
                }
            }
            if seen.contains(&text) {
                return Err(syn::Error::new(
                    name.span(),
                    format!("`{text}` is given twice"),
                ));
            }
            if !is_option {
                value_follows(&name, input)?;
                values.push((name, input.parse()?));
            } else if text == "method" {
                function.method = Some(name.span());
            } else {
                value_follows(&name, input)?;
                match &*text {
                    "key" => key = Some(input.parse().map_err(|error| key_is_text(&error))?),
                    "with" => with = Some(Expr::parse(input)?),
                    "companion" => function.companion = Some(Companion::parse(input)?),
                    "crate" => function.krate = Some(krate::parse(&input.parse()?)?),
                    "ttl" => ttl = Some(Time::parse(input)?),
                    "wait" => wait = Some(Time::parse(input)?),
                    "max_hold" => max_hold = Some(Time::parse(input)?),
                    "ttl_with" => ttl_with = Some(Expr::parse(input)?),
                    "cache_if" => cache_if = Some(Expr::parse(input)?),
                    "jitter" => jitter = Some(Expr::parse(input)?),
                    "none_ttl" => none_ttl = Some(Time::parse(input)?),
                    "cache_err" => cache_err = Some(Expr::parse(input)?),
                    "max" => max = Some(Expr::parse(input)?),
                    "on_locked" | "on_full" => on_contended = Some(Expr::parse(input)?),
                    "on_error" => on_error = Some(Expr::parse(input)?),
                    "on_unavailable" => on_unavailable = Some(Expr::parse(input)?),
                    "map_err" => map_err = Some(Expr::parse(input)?),
                    option if refresh.parse(option, input)? => {}
                    _ => return Err(unknown(kind, &name)),
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
                format!("`{kind}` needs a key: `key = \"user-{{user_id}}\"`"),
            ));
        };
        // Checked last, since the key need not come first.
        let template = Template::new(key)?;
        if let Some((name, _)) = values.iter().find(|(name, _)| !template.has(name)) {
            return Err(unknown(kind, name));
        }
        Ok(Self {
            kind,
            span,
            template,
            values,
            with,
            ttl,
            ttl_with,
            cache_if,
            jitter,
            none_ttl,
            cache_err,
            refresh,
            wait,
            max_hold,
            max,
            on_contended,
            on_error,
            on_unavailable,
            map_err,
            function,
        })
    }
}

/// Parses the `=` between a name and its value.
pub(crate) fn value_follows(name: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    let sign = input.parse::<Option<Token![=]>>()?;
    sign.map(drop).ok_or_else(|| {
        let message = format!("`{name}` needs a value: `{name} = ..`");
        syn::Error::new(name.span(), message)
    })
}

fn unknown(kind: Kind, name: &Ident) -> syn::Error {
    let names = kind.options().iter().chain(&COMMON);
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    syn::Error::new(
        name.span(),
        format!(
            "`{kind}` has no option `{name}`, and the key no `{{{name}}}`: the options are {}",
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
        let millis = match ungrouped(&value) {
            Expr::Lit(ExprLit { lit, .. }) => match lit {
                Lit::Str(text) if text.value() == "never" => return Ok(Self::Never(text.span())),
                Lit::Str(text) => millis(&text.value()),
                Lit::Int(number) => seconds(number),
                Lit::Float(number) => Err(fraction(number)),
                _ => return Ok(Self::Given(value)),
            },
            Expr::Unary(ExprUnary {
                op: UnOp::Neg(_),
                expr,
                ..
            }) if matches!(&**expr, Expr::Lit(_)) => Err(NEGATIVE.to_owned()),
            _ => return Ok(Self::Given(value)),
        };
        match millis {
            Ok(millis) => Ok(Self::Millis(millis, value.span())),
            Err(why) => Err(syn::Error::new_spanned(value, why)),
        }
    }

    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Never(span) | Self::Millis(_, span) => *span,
            Self::Given(value) => value.span(),
        }
    }

    /// Returns an expression of type `Duration`, or of type `Ttl` if the time is `"never"`.
    pub(crate) fn tokens(&self, private: &TokenStream) -> TokenStream {
        match self {
            Self::Never(_) => quote!(#private::Ttl::NEVER),
            Self::Millis(millis, _) => quote!(::core::time::Duration::from_millis(#millis)),
            Self::Given(value) => value.to_token_stream(),
        }
    }
}

/// Removes the invisible delimiters that a user's macro put around an expression.
pub(crate) fn ungrouped(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => ungrouped(&group.expr),
        value => value,
    }
}

const NEGATIVE: &str = "a time cannot be negative: write, say, \"5m\", or `ttl = \"never\"` for an \
                        entry that does not expire";

const MALFORMED: &str = "this is not a time: write a whole number and one of `ms`, `s`, `m`, `h`, \
                         `d`, such as \"250ms\" or \"5m\"";

const TOO_LONG: &str = "this time is too long: write, say, \"365d\", or `ttl = \"never\"` for an \
                        entry that does not expire";

fn millis(text: &str) -> Result<u64, String> {
    time::millis(text).map_err(|error| match error {
        TimeError::Negative => NEGATIVE.to_owned(),
        TimeError::TooLong => TOO_LONG.to_owned(),
        TimeError::Malformed => MALFORMED.to_owned(),
    })
}

fn seconds(number: &LitInt) -> Result<u64, String> {
    if !number.suffix().is_empty() {
        return Err(format!(
            "a plain number is a number of seconds: write `{}`, or \"250ms\" for another unit",
            number.base10_digits()
        ));
    }
    let seconds = number.base10_parse::<u64>().ok();
    seconds
        .and_then(|seconds| seconds.checked_mul(1000))
        .ok_or_else(|| TOO_LONG.to_owned())
}

fn fraction(number: &LitFloat) -> String {
    let millis = number
        .base10_parse::<f64>()
        .map_or(1500.0, |seconds| seconds * 1000.0);
    format!("a plain number is a whole number of seconds: write \"{millis:.0}ms\"")
}
