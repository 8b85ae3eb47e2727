//! Routes that answer as their request demands, to be put behind an adapter. They are the same for
//! every framework.
//!
//! The test program of an app serves them in a child process, by starting itself again.
//!
//! | route | is |
//! |---|---|
//! | GET, HEAD, POST `/page/{name}` | cached under `page-{name}` |
//! | GET `/query` | cached under `query-{query}` |
//! | GET `/mine` | cached under `mine-{header.authorization}` |
//! | GET `/session` | cached by the cookie `session` |
//! | GET `/host` | cached by the host |
//! | GET `/files/..` | cached by the path behind `/files/`, undecoded |
//! | GET `/listen/{name}` | cached under `listen-{name}`, honors `Cache-Control` of requests |
//! | GET `/detached/{name}` | cached under `detached-{name}`, finishes without its client |
//! | GET `/missing/{name}` | cached under `missing-{name}`, 404 as well |
//! | GET `/small/{name}` | cached under `small-{name}`, up to 10 bytes |
//! | PUT `/lock/{name}`, `/once/{name}`, `/pool/{name}` | reads its body, and runs under that lock, once, or two at a time |
//! | POST `/reset/{name}` | forgets `page-{name}` |
//! | GET `/runs/{name}` | how often the handler of that name was called, cached or not |

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderName, StatusCode};

/// The environment variable that turns a test into the child process.
pub(crate) const PREFIX: &str = "USERS_CONTRACT_PROBE";

/// The routes to serve, and the backend to serve them over.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The URL of the backend.
    pub cache: String,
    /// The prefix of its names.
    pub prefix: String,
    /// The source of the answers.
    pub probe: Probe,
}

impl Setup {
    /// Tells the parent process where it listens.
    ///
    /// # Panics
    ///
    /// If the parent does not read it.
    pub fn announce(&self, address: SocketAddr) {
        // Not through `println`, which a test may have captured.
        let mut stdout = std::io::stdout();
        writeln!(stdout, "listening on http://{address}").unwrap();
        stdout.flush().unwrap();
    }
}

/// Serves until the process is killed, if this process is the child.
pub fn run<F: Future<Output = ()>>(serve: impl FnOnce(Setup) -> F) {
    let (Ok(prefix), Ok(cache)) = (std::env::var(PREFIX), std::env::var("CACHIFY_URL")) else {
        return;
    };
    let setup = Setup {
        cache,
        prefix,
        probe: Probe::default(),
    };
    crate::cases::run(serve(setup));
}

/// The source of the routes' answers.
#[derive(Debug, Clone, Default)]
pub struct Probe(Arc<Mutex<HashMap<String, usize>>>);

/// An answer for a handler to send.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, in pieces.
    pub body: Vec<Bytes>,
    /// True if the body is a stream that does not announce its length.
    pub stream: bool,
}

impl Answer {
    /// Returns its body, for a response that streams.
    pub fn stream(
        &self,
    ) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + Sync + 'static + use<> {
        stream::iter(self.body.clone().into_iter().map(Ok))
    }
}

impl Probe {
    /// Returns how often a handler of this name was called.
    pub fn runs(&self, name: &str) -> usize {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(name).copied().unwrap_or_default()
    }

    /// Returns the answer to a request with these headers: by default 200, and the name with the
    /// number of the call.
    ///
    /// `x-answer-NAME: VALUE` adds a header, `x-status` sets the status, `x-delay` delays it by
    /// this many milliseconds, `x-body` is `stream`, `large`, `empty`, or `language`, which repeats
    /// `accept-language`.
    pub async fn answer(&self, name: &str, request: &HeaderMap) -> Answer {
        let n = {
            let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let runs = runs.entry(name.to_owned()).or_default();
            *runs += 1;
            *runs
        };
        let text = |field: &str| request.get(field).and_then(|value| value.to_str().ok());
        let number = |field| text(field).and_then(|value| value.parse::<u64>().ok());
        if let Some(delay) = number("x-delay") {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let mut headers = HeaderMap::new();
        headers.insert("content-type", http::HeaderValue::from_static("text/plain"));
        for (field, value) in request {
            if let Some(field) = field.as_str().strip_prefix("x-answer-") {
                let value = match value.to_str() {
                    Ok(value) if value.contains('#') => value.replace('#', &n.to_string()).parse(),
                    _ => Ok(value.clone()),
                };
                let field: HeaderName = field.parse().expect("it was one");
                headers.append(field, value.expect("it was one"));
            }
        }
        let body = match text("x-body") {
            Some("empty") => Vec::new(),
            Some("large") => vec![vec![b'x'; 2 << 20].into()],
            Some("stream") => vec![format!("{name} ").into(), n.to_string().into()],
            Some("language") => {
                let language = text("accept-language").unwrap_or("none");
                vec![format!("{language} {n}").into()]
            }
            _ => vec![format!("{name} {n}").into()],
        };
        Answer {
            status: number("x-status")
                .and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok())
                .unwrap_or(StatusCode::OK),
            headers,
            body,
            stream: text("x-body") == Some("stream"),
        }
    }
}
