//! Hosts of one server, over each version of HTTP.

use std::net::SocketAddr;

use reqwest::{Client, ClientBuilder, Version};

use super::{HIT, STORED, cache, probe};
use crate::Launch;

/// HTTP/2 has no `Host` field: the host is a part of each request's URI.
#[rustfmt::skip] // A row is a line.
pub async fn h9_hosts_are_apart_over_http2_too(launch: Launch) {
    let app = probe(launch).await;
    let address: SocketAddr = app.address().parse().unwrap();
    let client = |version: fn(ClientBuilder) -> ClientBuilder| {
        let client = ["a.example", "b.example"]
            .iter()
            .fold(Client::builder().no_proxy(), |client, host| client.resolve(host, address));
        version(client).build().unwrap()
    };
    let old = (client(ClientBuilder::http1_only), Version::HTTP_11);
    let new = (client(ClientBuilder::http2_prior_knowledge), Version::HTTP_2);
    let varies = "cachify; fwd=vary-miss; stored";
    for ((client, version), host, path, word, body) in [
        (&new, "a.example", "host", STORED, "host 1"),
        (&new, "b.example", "host", STORED, "host 2"),
        (&new, "A.example", "host", HIT, "host 1"),
        (&old, "a.example", "host", HIT, "host 1"),
        (&old, "b.example", "host", HIT, "host 2"),
        (&new, "a.example", "page/x", STORED, "x 1"),
        (&new, "b.example", "page/x", varies, "x 2"),
        (&new, "a.example", "page/x", HIT, "x 1"),
        (&old, "a.example", "page/x", HIT, "x 1"),
        (&old, "b.example", "page/x", HIT, "x 2"),
    ] {
        let request = client.get(format!("http://{host}:{}/{path}", address.port()));
        let response = request.header("x-answer-vary", "host").send().await.unwrap();
        let row = format!("{version:?} {host} {path}");
        assert_eq!(response.version(), *version, "{row}");
        assert_eq!(cache(&response), word, "{row}");
        assert_eq!(response.text().await.unwrap(), body, "{row}");
    }
}
