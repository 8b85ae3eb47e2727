//! The route and the host of a request.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{HOST, HeaderMap, HeaderValue};
use http::request::Parts;

use crate::observe;

/// The route that the framework chose for a request.
pub trait Routed {
    /// Returns the pattern of the route, such as `/users/{id}` or `/users/:id`; `None` if the
    /// framework does not report it.
    fn route(&self) -> Option<&str>;

    /// Returns the undecoded path, with the prefixes that nested routers removed.
    fn path(&self) -> &str;

    /// Returns the names and decoded values of the path parameters.
    fn params(&self) -> impl Iterator<Item = (&str, &str)>;
}

/// Returns a path parameter by name; `None` if nested routers use the name twice, since either
/// could be meant.
pub(super) fn param<'r>(routed: &'r impl Routed, name: &str) -> Option<&'r str> {
    let mut named = routed.params().filter(|(other, _)| *other == name);
    let (_, value) = named.next()?;
    named.next().is_none().then_some(value)
}

/// Returns the undecoded value of a wildcard; `None` if the parameter of this name is no wildcard.
///
/// `/a%2Fb` and `/a/b` both decode to `a/b`, but are different to a handler that reads the path.
pub(super) fn wildcard<'r>(routed: &'r impl Routed, name: &str) -> Option<&'r str> {
    let route = routed.route()?;
    let (before, wild) = route.rsplit_once('*')?;
    if wild.trim_end_matches('}') != name {
        return None;
    }
    // Each parameter before the wildcard is one segment of the path, whatever its value decodes to.
    let slashes = before.matches('/').count();
    let mut path = routed.path();
    for _ in 0..slashes {
        path = path.split_once('/')?.1;
    }
    Some(path)
}

/// Returns the host of a request, in lower case and without a default port. A host in the URI, as
/// over HTTP/2, comes before the `Host` field.
///
/// Returns `None` if there is no host, or if it is ambiguous: there are several, one cannot be
/// parsed, or the `Host` field differs from the URI.
///
/// # Examples
///
/// ```
/// use cachify_core::http::host;
///
/// let http1 = http::Request::get("/").header("host", "Example.com:80");
/// let (http1, ()) = http1.body(())?.into_parts();
/// let (http2, ()) = http::Request::get("https://example.com/").body(())?.into_parts();
/// assert_eq!(host(&http1).as_deref(), Some("example.com"));
/// assert_eq!(host(&http1), host(&http2));
/// # Ok::<(), http::Error>(())
/// ```
pub fn host(request: &Parts) -> Option<Cow<'_, str>> {
    let mut fields = request.headers.get_all(HOST).into_iter();
    let field = fields.next();
    if fields.next().is_some() {
        return None;
    }
    let field = match field {
        Some(field) => Some(normal(field.to_str().ok()?)?),
        None => None,
    };
    match (request.uri.authority(), field) {
        (None, field) => field,
        (Some(authority), None) => normal(authority.as_str()),
        (Some(authority), Some(field)) => {
            normal(authority.as_str()).filter(|authority| *authority == field)
        }
    }
}

/// Copies the host of the URI to the field that HTTP/1 requests use.
pub(super) fn with_host<'h>(request: &'h Parts, headers: &'h HeaderMap) -> Cow<'h, HeaderMap> {
    if !headers.contains_key(HOST)
        && let Some(authority) = request.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        let mut headers = headers.clone();
        headers.insert(HOST, host);
        return Cow::Owned(headers);
    }
    Cow::Borrowed(headers)
}

fn normal(host: &str) -> Option<Cow<'_, str>> {
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let port = |port| host.strip_suffix(port).filter(|host| !host.ends_with(':'));
    let host = port(":80").or_else(|| port(":443")).unwrap_or(host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]~%".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return None;
    }
    Some(if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

/// The first route and host that requests of one set of rules have shown.
#[derive(Debug, Default)]
pub(super) struct Met {
    route: OnceLock<Box<str>>,
    host: OnceLock<Box<str>>,
    several_hosts: AtomicBool,
}

impl Met {
    /// Returns whether a request belongs to the first route that was seen.
    pub(super) fn is_same_route(&self, template: &str, route: Option<&str>) -> bool {
        let Some(route) = route else {
            observe::untold_route(template);
            return false;
        };
        let first = self.route.get_or_init(|| route.into());
        if **first != *route {
            observe::several_routes(template, first, route);
            return false;
        }
        true
    }

    /// Warns when requests name a second host. IP addresses and `localhost` do not count: health
    /// checks use them.
    pub(super) fn see_host(&self, template: &str, request: &Parts) {
        if self.several_hosts.load(Ordering::Relaxed) {
            return;
        }
        let Some(host) = host(request) else {
            return;
        };
        if self.host.get().is_some_and(|first| **first == *host) {
            return;
        }
        let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
        if name == "localhost" || host.starts_with('[') || name.parse::<IpAddr>().is_ok() {
            return;
        }
        let first = self.host.get_or_init(|| (&*host).into());
        if **first != *host && !self.several_hosts.swap(true, Ordering::Relaxed) {
            observe::several_hosts(template, first, &host);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(uri: &str, hosts: &[&str]) -> Option<String> {
        let mut request = http::Request::get(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        host(&parts).map(Cow::into_owned)
    }

    #[test]
    fn h9_a_host_is_the_same_however_it_is_sent() {
        for (uri, hosts, expected) in [
            ("/", &["Example.COM"] as &[_], Some("example.com")),
            ("/", &["example.com:443"], Some("example.com")),
            ("/", &["example.com:8080"], Some("example.com:8080")),
            ("/", &["[::1]:80"], Some("[::1]")),
            ("/", &["a b"], None),
            ("/", &["a", "b"], None),
            ("/", &[""], None),
            ("/", &[], None),
            ("http://u:p@Example.com/", &[], Some("example.com")),
            ("http://a/", &["A:80"], Some("a")),
            ("http://a/", &["b"], None),
        ] {
            assert_eq!(of(uri, hosts).as_deref(), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn k2_a_wildcard_is_undecoded() {
        struct At(&'static str, &'static str);
        impl Routed for At {
            fn route(&self) -> Option<&str> {
                Some(self.0)
            }
            fn path(&self) -> &str {
                self.1
            }
            fn params(&self) -> impl Iterator<Item = (&str, &str)> {
                std::iter::empty()
            }
        }
        for (route, path, expected) in [
            ("/files/{*rest}", "/files/a%2Fb", Some("a%2Fb")),
            ("/files/{*rest}", "/files/a/b", Some("a/b")),
            ("/{t}/f/*rest", "/x%2Fy/f//b", Some("/b")),
            ("/{*other}", "/a", None),
            ("/{rest}", "/a", None),
        ] {
            assert_eq!(
                wildcard(&At(route, path), "rest"),
                expected,
                "{route} {path}"
            );
        }
    }
}
