//! Keys that are made from requests.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, PROXY_AUTHORIZATION};
use http::request::Parts;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::cookies::values;
use super::routed::{Routed, host, param, wildcard, with_host};
use super::stored::push_hex;
use crate::{Error, ErrorKind, Key, KeyTemplate, MissingPlaceholder};

/// A key template whose placeholders are filled from a request.
///
/// | placeholder | value |
/// |---|---|
/// | `{user_id}` | the path parameter of that name, decoded; a wildcard is not decoded |
/// | `{path}` | the whole path, undecoded |
/// | `{host}` | the [host](host) that the request was sent to |
/// | `{query}` | the whole query, its parameters sorted by name; empty if there is none |
/// | `{query.page}` | the query parameter of that name, decoded |
/// | `{header.accept-language}` | the header of that name |
/// | `{cookie.session}` | the cookie of that name, [hashed](hashed) |
///
/// If a parameter, header or cookie occurs several times, its value is the list of all values, in
/// order, which never equals any single value.
///
/// Cookies, `{header.cookie}`, `{header.authorization}` and `{header.proxy-authorization}` are
/// secrets, so a key contains only their [hash](hashed).
///
/// All values are text: `/users/7` and `/users/07` make two keys, although a handler that parses a
/// number sees 7 in both. Where that matters, as with locks and resets, make the route refuse other
/// spellings, or make the key from the number itself.
#[derive(Debug, Clone)]
pub struct RequestKey {
    template: KeyTemplate,
    headers: Vec<HeaderName>,
    cookies: Vec<String>,
}

impl RequestKey {
    /// Parses a template that is written in the program.
    ///
    /// # Panics
    ///
    /// Panics with the error of [`parse`](Self::parse) if the template is malformed.
    #[track_caller]
    pub fn new(template: &str) -> Self {
        Self::parse(template).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Parses a template.
    ///
    /// # Errors
    ///
    /// [`Template`](ErrorKind::Template) if [`KeyTemplate::parse`] refuses the template, if a
    /// header name is invalid, or if a placeholder with a dot names no part of a request.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachify_core::http::RequestKey;
    ///
    /// assert!(RequestKey::parse("list-{tenant}-{query.page}").is_ok());
    /// assert!(RequestKey::parse("list-{tenant.id}").is_err());
    /// ```
    pub fn parse(template: &str) -> Result<Self, Error> {
        let parsed = KeyTemplate::parse(template)?;
        let (mut headers, mut cookies) = (Vec::new(), Vec::new());
        let refuse = |message| Error::new(ErrorKind::Template, message).with_template(template);
        for name in parsed.placeholders() {
            match RequestPart::of(name) {
                RequestPart::Header(header) => headers.push(
                    header
                        .parse()
                        .map_err(|_| refuse(format!("`{{{name}}}` is not the name of a header")))?,
                ),
                RequestPart::Host => headers.push(HOST),
                RequestPart::Cookie(cookie) => cookies.push(cookie.to_owned()),
                RequestPart::Path(name) if name.contains('.') => {
                    return Err(refuse(format!(
                        "no part of a request fills `{{{name}}}`; use `{{NAME}}` for a path \
                         parameter, `{{path}}`, `{{host}}`, `{{query}}`, `{{query.NAME}}`, \
                         `{{header.NAME}}` or `{{cookie.NAME}}`"
                    )));
                }
                _ => {}
            }
        }
        Ok(Self {
            template: parsed,
            headers,
            cookies,
        })
    }

    /// Returns the template.
    pub fn template(&self) -> &KeyTemplate {
        &self.template
    }

    /// Returns whether the key distinguishes all paths.
    pub(super) fn names_path(&self) -> bool {
        self.template.placeholders().any(|name| name == "path")
    }

    /// Returns whether a placeholder is filled by a path parameter.
    pub fn reads_path(&self) -> bool {
        self.template
            .placeholders()
            .any(|name| matches!(RequestPart::of(name), RequestPart::Path(_)))
    }

    /// Renders the key of a request, for a route that must not run without one. Wildcards are
    /// decoded, as handlers see them, so that a handler can make the same key.
    ///
    /// # Errors
    ///
    /// [`Request`](ErrorKind::Request) if the client could have sent the missing part: a query
    /// parameter, a header, a cookie, or a UTF-8 path. [`Template`](ErrorKind::Template) if no
    /// request of the route can fill a placeholder, because its path has no such parameter.
    pub fn require(&self, request: &Parts, routed: &impl Routed) -> Result<Key, Error> {
        self.render(request, &Decoded(routed)).map_err(|missing| {
            let name = missing.name();
            // The path parameters depend on the route, not on the request.
            let message = if !matches!(RequestPart::of(name), RequestPart::Path(_)) {
                format!("a request lacks `{{{name}}}`, a part of the key of its route")
            } else if std::str::from_utf8(&decoded(request.uri.path())).is_err() {
                "the path of a request is not UTF-8".to_owned()
            } else {
                return missing.into();
            };
            Error::new(ErrorKind::Request, message).with_template(missing.template())
        })
    }

    /// Renders the key of a request.
    pub(super) fn render(
        &self,
        request: &Parts,
        routed: &impl Routed,
    ) -> Result<Key, MissingPlaceholder> {
        let query = || request.uri.query().unwrap_or_default();
        let bytes = |text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(str::as_bytes(text)),
            Cow::Owned(text) => Cow::Owned(String::into_bytes(text)),
        };
        self.template
            .render_with(|name| match RequestPart::of(name) {
                RequestPart::Path(name) => {
                    let value = wildcard(routed, name).or_else(|| param(routed, name));
                    value.map(|value| value.as_bytes().into())
                }
                RequestPart::WholePath => Some(routed.path().as_bytes().into()),
                RequestPart::Host => host(request).map(bytes),
                RequestPart::Query => Some(bytes(sorted_query(query()))),
                RequestPart::Parameter(name) => {
                    let pairs = pairs(query()).filter(|(key, _)| decoded(key) == name.as_bytes());
                    one_or_all(pairs.map(|(_, value)| decoded(value)))
                }
                RequestPart::Header(name) => {
                    let headers = with_host(request, &request.headers);
                    let values = headers.get_all(name).into_iter();
                    let value = one_or_all(values.map(|value| value.as_bytes().into()))?;
                    Some(
                        if SECRETS
                            .iter()
                            .any(|secret| secret.as_str().eq_ignore_ascii_case(name))
                        {
                            hashed(value).into_bytes().into()
                        } else {
                            Cow::Owned(value.into_owned())
                        },
                    )
                }
                RequestPart::Cookie(name) => {
                    let values = values(&request.headers, name).map(Cow::Borrowed);
                    Some(hashed(one_or_all(values)?).into_bytes().into())
                }
            })
    }

    /// Returns the headers that are part of the key.
    pub(super) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Returns the cookies that are part of the key.
    pub(super) fn cookies(&self) -> &[String] {
        &self.cookies
    }
}

/// Headers whose values enter a key only as a hash.
const SECRETS: [HeaderName; 3] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE];

/// Returns the SHA-256 of a secret in hexadecimal digits, as it appears in keys.
///
/// A key is a name in Redis, and appears in its slow log. A short or guessable secret, such as a
/// `Basic` password, can be recovered from its hash by trial.
///
/// # Examples
///
/// ```
/// use cachify_core::{http::hashed, key};
///
/// // What a layer with `account-{header.authorization}` stores for this request.
/// let token = hashed("Bearer 0123456789abcdef");
/// let key = key!("account-{token}");
/// assert!(!key.as_str().contains("Bearer"));
/// ```
pub fn hashed(secret: impl AsRef<[u8]>) -> String {
    let mut text = String::with_capacity(64);
    push_hex(&mut text, &Sha256::digest(secret));
    text
}

/// Deserializes a guard's key from a request. Its fields are path parameters, or else query
/// parameters.
///
/// # Errors
///
/// [`Request`](ErrorKind::Request) if path and query cannot be deserialized as a `K`.
///
/// # Examples
///
/// ```
/// use cachify_core::http::read_key;
///
/// #[derive(serde::Deserialize)]
/// struct Page {
///     tenant: String,
///     page: u32,
/// }
///
/// let page: Page = read_key([("tenant", "acme")], Some("page=2&tenant=other"))?;
/// assert_eq!((page.tenant.as_str(), page.page), ("acme", 2));
/// assert!(read_key::<Page>([("tenant", "acme")], None).is_err());
/// # Ok::<(), cachify_core::Error>(())
/// ```
pub fn read_key<'a, K: DeserializeOwned>(
    path: impl IntoIterator<Item = (&'a str, &'a str)>,
    query: Option<&str>,
) -> Result<K, Error> {
    // The parser's message could show what the client sent.
    let refuse = |_| {
        let name = std::any::type_name::<K>();
        let message = format!("the path and query of a request cannot be read as a `{name}`");
        Error::new(ErrorKind::Request, message)
    };
    let mut fields: Vec<(Cow<'_, str>, Cow<'_, str>)> = path
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let named = fields.len();
    let query: Vec<_> = serde_urlencoded::from_str(query.unwrap_or_default()).map_err(refuse)?;
    for (name, value) in query {
        if fields[..named].iter().all(|(other, _)| *other != name) {
            fields.push((name, value));
        }
    }
    let text = serde_urlencoded::to_string(fields).unwrap_or_default();
    serde_urlencoded::from_str(&text).map_err(refuse)
}

/// A route without wildcards, so all parameters are decoded.
struct Decoded<'r, R>(&'r R);

impl<R: Routed> Routed for Decoded<'_, R> {
    fn route(&self) -> Option<&str> {
        None
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.params()
    }
}

/// The part of a request that fills a placeholder.
#[derive(PartialEq, Eq)]
enum RequestPart<'n> {
    /// A path parameter. A name with a dot is invalid.
    Path(&'n str),
    WholePath,
    Host,
    Query,
    Parameter(&'n str),
    Header(&'n str),
    Cookie(&'n str),
}

impl<'n> RequestPart<'n> {
    fn of(name: &'n str) -> Self {
        match name.split_once('.') {
            None if name == "query" => Self::Query,
            None if name == "path" => Self::WholePath,
            None if name == "host" => Self::Host,
            Some(("query", name)) => Self::Parameter(name),
            Some(("header", name)) => Self::Header(name),
            Some(("cookie", name)) => Self::Cookie(name),
            _ => Self::Path(name),
        }
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Sorts the parameters of a query by name, as `{query}` of a [`RequestKey`] does.
///
/// Parameters of one name keep their order, however the name is escaped, since the order can mean
/// something.
///
/// # Examples
///
/// ```
/// use cachify_core::http::sorted_query;
///
/// assert_eq!(sorted_query("page=2&lang=en"), sorted_query("lang=en&page=2"));
/// assert_ne!(sorted_query("tag=a&tag=b"), sorted_query("tag=b&tag=a"));
/// ```
pub fn sorted_query(query: &str) -> Cow<'_, str> {
    let mut parts: Vec<_> = query.split('&').filter(|part| !part.is_empty()).collect();
    let name = |part: &&str| decoded(part.split('=').next().unwrap_or_default()).into_owned();
    if let [part] = parts[..] {
        return part.into();
    }
    parts.sort_by_cached_key(name);
    parts.join("&").into()
}

/// Returns a single value as it is. Several values, or one that begins with `&`, each get an `&` in
/// front, and their own `&` and `%` are escaped.
fn one_or_all<'a>(mut values: impl Iterator<Item = Cow<'a, [u8]>>) -> Option<Cow<'a, [u8]>> {
    let first = values.next()?;
    let second = values.next();
    if second.is_none() && first.first() != Some(&b'&') {
        return Some(first);
    }
    let mut all = Vec::new();
    for value in std::iter::once(first).chain(second).chain(values) {
        all.push(b'&');
        for &byte in value.iter() {
            match byte {
                b'&' => all.extend_from_slice(b"%26"),
                b'%' => all.extend_from_slice(b"%25"),
                _ => all.push(byte),
            }
        }
    }
    Some(all.into())
}

/// Decodes `+` and `%XX`. Malformed escapes stay as they are.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return bytes.into();
    }
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|&byte| char::from(byte).to_digit(16))
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match (byte, digit(at), digit(at + 1)) {
            (b'%', Some(high), Some(low)) => {
                out.extend(u8::try_from(high * 16 + low));
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    struct At<'a>(&'a str);

    impl Routed for At<'_> {
        fn route(&self) -> Option<&str> {
            None
        }

        fn path(&self) -> &str {
            self.0
        }

        fn params(&self) -> impl Iterator<Item = (&str, &str)> {
            [("id", "7")].into_iter()
        }
    }

    fn render(template: &str, uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let key = RequestKey::new(template);
        let parts = parts(uri, headers);
        let key = key.render(&parts, &At(parts.uri.path()));
        key.ok().map(|key| key.as_str().to_owned())
    }

    #[test]
    fn every_part_of_a_request_fills_its_placeholder() {
        let template = "u-{id}-{query.page}-{header.accept-language}";
        let key = render(template, "/?page=a%2Fb+c", &[("Accept-Language", "en")]);
        assert_eq!(key.as_deref(), Some("u-7-a/b c-en"));
    }

    #[test]
    fn what_is_not_there_fills_nothing() {
        for template in ["x{other}", "x{query.page}", "x{header.accept}"] {
            assert_eq!(render(template, "/?pag=1", &[]), None, "{template}");
        }
        assert_eq!(render("x{query.page}", "/?page", &[]).as_deref(), Some("x"));
        assert_eq!(render("x{query}", "/", &[]).as_deref(), Some("x"));
    }

    #[test]
    fn a_query_is_sorted_by_name_and_no_further() {
        let key = |uri| render("x{query}", uri, &[]);
        assert_eq!(key("/?b=2&a=1"), key("/?a=1&b=2"));
        assert_eq!(key("/?b=2&&a=1&"), key("/?a=1&b=2"));
        assert_ne!(key("/?a=1&a=2"), key("/?a=2&a=1"));
        assert_ne!(key("/?%61=1&a=2"), key("/?a=2&%61=1"));
    }

    #[test]
    fn k2_several_values_are_no_single_one() {
        let key = |uri| render("x{query.a}", uri, &[]).unwrap();
        let keys = [
            key("/?a=1"),
            key("/?a=2"),
            key("/?a=1&a=2"),
            key("/?a=2&a=1"),
            key("/?a=1%262"),
            key("/?a=%261%262"),
            key("/?a=1&a=2&a=3"),
            key("/?a=1&a=2%263"),
            key("/?a=1%2C2"),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:?}");
        let twice = [("accept", "a"), ("accept", "b")];
        let headers = render("x{header.accept}", "/", &twice);
        assert_ne!(
            headers,
            render("x{header.accept}", "/", &[("accept", "a, b")])
        );
    }

    #[test]
    fn h9_the_path_and_the_host_fill_their_placeholders() {
        let key = |uri, headers: &[_]| render("{host}:{path}", uri, headers);
        let http1 = key("/a%2Fb?x", &[("host", "Shop.example:80")]);
        assert_eq!(http1.as_deref(), Some("shop.example:/a%252Fb"));
        assert_eq!(key("https://shop.example/a%2Fb", &[]), http1);
        assert_eq!(key("/a%2Fb", &[]), None);
        let header = |uri, headers: &[_]| render("x-{header.host}", uri, headers);
        assert_eq!(
            header("http://a.example/", &[]).as_deref(),
            Some("x-a.example")
        );
    }

    #[test]
    fn s1_secrets_are_hashed() {
        let hash = hashed("s3cret");
        for (template, header, line) in [
            ("x-{header.authorization}", "authorization", "s3cret"),
            ("x-{header.Cookie}", "cookie", "s3cret"),
            ("x-{cookie.session}", "cookie", "theme=dark; session=s3cret"),
        ] {
            let key = render(template, "/", &[(header, line)]);
            assert_eq!(key, Some(format!("x-{hash}")), "{template}");
        }
        let twice = [("cookie", "a=1; a=2")];
        assert_ne!(
            render("{cookie.a}", "/", &twice),
            render("{cookie.a}", "/", &[("cookie", "a=1")])
        );
        assert_eq!(render("x-{cookie.a}", "/", &[("cookie", "ab=1")]), None);
    }

    #[test]
    fn k3_a_held_route_has_the_key_that_its_handler_makes() {
        struct Nested;

        impl Routed for Nested {
            fn route(&self) -> Option<&str> {
                Some("/files/{*name}")
            }

            fn path(&self) -> &'static str {
                "/api/files/a%2Fb"
            }

            fn params(&self) -> impl Iterator<Item = (&str, &str)> {
                [("name", "a/b")].into_iter()
            }
        }

        let parts = parts("/files/a%2Fb", &[]);
        let require = |template| RequestKey::new(template).require(&parts, &Nested).unwrap();
        assert_eq!(require("file-{name}").as_str(), "file-a/b");
        // The whole path is the same as in the key of a cached route.
        let cached = RequestKey::new("x{path}").render(&parts, &Nested);
        assert_eq!(require("x{path}"), cached.unwrap());
    }

    #[test]
    fn k1_what_nothing_of_a_request_fills_is_refused() {
        for template in [
            "u-{user.id}",
            "u-{path.id}",
            "u-{host.name}",
            "u-{cookies.a}",
        ] {
            let error = RequestKey::parse(template).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Template);
            assert!(error.to_string().contains("`{cookie.NAME}`"), "{error}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_one_is_refused() {
        let error = RequestKey::parse("x-{header.grüße}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Template);
    }

    proptest! {
        #[test]
        fn k2_different_values_make_different_keys(
            a in prop::collection::vec("[&%a]{0,3}", 1..4),
            b in prop::collection::vec("[&%a]{0,3}", 1..4),
        ) {
            let render = |values: &[String]| {
                let values = values.iter().map(|value| value.as_bytes().into());
                one_or_all(values).unwrap().into_owned()
            };
            prop_assert_eq!(render(&a) == render(&b), a == b);
        }

        #[test]
        fn s3_queries_never_panic(query in "[a-z0-9&=%+é]{0,32}") {
            let _ = sorted_query(&query);
            pairs(&query).for_each(|(name, value)| { let _ = (decoded(name), decoded(value)); });
        }
    }
}
