//! A running server, and a client that sends requests byte by byte.

#![allow(clippy::expect_used, reason = "a failure here fails the test")]

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::limit::soon;

/// A server on a free port of this machine. Dropping it ends the server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts a server: `serve` takes connections from a listener until it is dropped.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn start<F>(serve: impl FnOnce(TcpListener) -> F) -> Self
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let serve = serve(listener);
        let task = tokio::spawn(async { drop(serve.await) });
        Self { address, task }
    }

    /// Sends a request without a body, and returns its response.
    ///
    /// `line` is a method and a path with its query.
    ///
    /// # Panics
    ///
    /// If there is no response within 30 s.
    pub async fn ask(&self, line: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(line, headers).await.answer().await
    }

    /// Sends a GET request without headers, and returns its response.
    ///
    /// # Panics
    ///
    /// If there is no response within 30 s.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[]).await
    }

    /// Sends a request with a body, and returns its response.
    ///
    /// # Panics
    ///
    /// If there is no response within 30 s.
    pub async fn ask_with(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let length = body.len().to_string();
        let headers = [headers, &[("content-length", length.as_str())]].concat();
        let mut call = self.send(line, &headers).await;
        call.write(body).await;
        call.answer().await
    }

    /// Sends a request without a body, and returns before its response. Drop the [`Call`] to
    /// disconnect.
    ///
    /// # Panics
    ///
    /// If the server does not accept the connection.
    pub async fn send(&self, line: &str, headers: &[(&str, &str)]) -> Call {
        let mut head = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
        let host = headers.iter().any(|(name, _)| *name == "host");
        let host = (!host).then_some(&("host", "test"));
        for (name, value) in host.into_iter().chain(headers) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut call = self.connect(line.starts_with("HEAD ")).await;
        call.write(&head).await;
        call
    }

    /// Sends the head of a request, waits until the server asks for the body, and sends the first 8
    /// bytes of the body. It has 40 bytes, unless `framing` is another header.
    ///
    /// # Panics
    ///
    /// If the server does not ask for the body.
    pub async fn upload(&self, line: &str, framing: Option<(&str, &str)>) -> Call {
        let framing = framing.unwrap_or(("content-length", "40"));
        let expect = ("expect", "100-continue");
        let mut call = self.send(line, &[framing, expect]).await;
        let mut said = [0; 25];
        let read = soon("a request for the body", call.stream.read_exact(&mut said)).await;
        read.expect("an interim response");
        assert!(said.starts_with(b"HTTP/1.1 100"), "{said:?}");
        let chunked = framing.0 == "transfer-encoding";
        call.write(if chunked {
            "8\r\n12345678\r\n"
        } else {
            "12345678"
        })
        .await;
        call
    }

    /// Sends `bytes` unchanged, and returns everything that the server sends back.
    ///
    /// # Panics
    ///
    /// If the connection does not end within 30 s, or if the response is not UTF-8.
    pub async fn raw(&self, bytes: &str) -> String {
        let mut call = self.connect(false).await;
        call.write(bytes).await;
        String::from_utf8(call.rest().await).expect("text")
    }

    /// Sends a GET request with one header over HTTP/2, where the host is part of the URI, and
    /// returns the body of the response.
    ///
    /// # Panics
    ///
    /// If there is no response within 30 s, or if an argument has more than 126 bytes.
    pub async fn get_over_http2(&self, host: &str, path: &str, field: (&str, &str)) -> String {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const SETTINGS: u8 = 4;
        // Literal fields, except for the method, the scheme, and the names of path and host (RFC
        // 7541).
        let mut block = vec![0x82, 0x86, 0x04];
        push_text(&mut block, path);
        block.push(0x01);
        push_text(&mut block, host);
        block.push(0x00);
        push_text(&mut block, field.0);
        push_text(&mut block, field.1);
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]);
        let length = u8::try_from(block.len()).expect("a short block");
        // The flags END_HEADERS and END_STREAM.
        bytes.extend([0, 0, length, HEADERS, 0x05, 0, 0, 0, 1]);
        bytes.extend(block);
        let mut stream = self.connect(false).await.stream;
        stream.write_all(&bytes).await.expect("the server reads");

        let mut body = Vec::new();
        soon("a response over HTTP/2", async {
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.expect("a frame");
                let [_, high, low, kind, flags, ..] = head;
                let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
                stream.read_exact(&mut payload).await.expect("a payload");
                if kind == DATA {
                    body.extend(payload);
                    if flags & 1 != 0 {
                        break;
                    }
                }
            }
        })
        .await;
        String::from_utf8(body).expect("text")
    }

    async fn connect(&self, head: bool) -> Call {
        let stream = TcpStream::connect(self.address)
            .await
            .expect("the server listens");
        Call { stream, head }
    }
}

fn push_text(block: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
    block.push(length.expect("a short text"));
    block.extend(text.as_bytes());
}

/// A request whose response has not been read yet. Dropping it closes the connection.
#[derive(Debug)]
pub struct Call {
    stream: TcpStream,
    /// Set for a HEAD request, whose response has no body.
    head: bool,
}

impl Call {
    /// Sends more of the request.
    ///
    /// # Panics
    ///
    /// If the connection is closed.
    pub async fn write(&mut self, text: &str) {
        let written = self.stream.write_all(text.as_bytes()).await;
        written.expect("the server reads");
    }

    /// Reads the response.
    ///
    /// # Panics
    ///
    /// If the response does not end within 30 s.
    pub async fn answer(mut self) -> Answer {
        let bytes = self.rest().await;
        Answer::parse(&bytes, self.head)
    }

    /// Reads until `text` has arrived.
    ///
    /// # Panics
    ///
    /// If `text` does not arrive within 30 s, or if the connection ends first.
    pub async fn until(&mut self, text: &str) {
        let mut bytes = Vec::new();
        let read = soon(text, async {
            while !String::from_utf8_lossy(&bytes).contains(text) {
                if self.stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return false;
                }
            }
            true
        });
        assert!(read.await, "no `{text}`");
    }

    /// Reads until the connection ends. A reset counts as an end.
    async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = soon("a response", self.stream.read_to_end(&mut bytes)).await;
        if let Err(error) = read {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        bytes
    }
}

/// A response as it arrived.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status; 0 if the connection ended without one.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// Set if the body has the announced length, or its last chunk.
    pub is_whole: bool,
}

impl Answer {
    fn parse(bytes: &[u8], no_body: bool) -> Self {
        let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let (head, body) = bytes.split_at(end.map_or(bytes.len(), |end| end + 4));
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let (name, value) = (
                HeaderName::try_from(name),
                HeaderValue::try_from(value.trim()),
            );
            headers.append(name.expect("a name"), value.expect("a value"));
        }
        let length = headers.get("content-length");
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let (body, is_whole) = if headers.contains_key("transfer-encoding") {
            unchunked(body)
        } else {
            let whole = end.is_some() && (no_body || length.is_none_or(|n| n == body.len()));
            (body.to_vec(), whole)
        };
        Self {
            status: status.map_or(0, |status| status.parse().expect("a status")),
            headers,
            body,
            is_whole,
        }
    }

    /// Returns the body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// Returns the status and the body.
    ///
    /// # Panics
    ///
    /// If the body is not UTF-8.
    pub fn brief(&self) -> (u16, &str) {
        (self.status, self.text())
    }

    /// Returns the first header named `name`.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?;
        Some(value.to_str().expect("text"))
    }

    /// Returns the last member of `Cache-Status` without its `ttl`, or an empty string if there is
    /// none.
    pub fn cache(&self) -> &str {
        let lines = self.headers.get_all("cache-status");
        let last = lines.iter().next_back().and_then(|line| line.to_str().ok());
        last.map_or("", |line| line.split("; ttl=").next().unwrap_or(line))
    }
}

/// Joins the chunks, and returns whether the last one arrived.
fn unchunked(mut chunks: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|bytes| bytes == b"\r\n") {
        let (size, rest) = chunks.split_at(end);
        let size = String::from_utf8_lossy(size);
        let size = usize::from_str_radix(&size, 16).expect("a size");
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = rest.get(2..2 + size) else {
            break;
        };
        body.extend_from_slice(chunk);
        chunks = rest.get(4 + size..).unwrap_or_default();
    }
    (body, false)
}
