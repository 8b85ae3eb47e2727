//! H6 over real sockets: what happens when a client goes away.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::handler::Handler as _;
use axum::middleware::Next;
use axum::routing::{get, put};
use cachify_axum::{
    BodyLayer, CacheKey, CacheLayer, Cachify, LockLayer, Locked, PoolLayer, ScopeLayer, key,
};
use serde::Deserialize;
use support::{Door, backends};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn send(address: SocketAddr, method: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Sends the head of an upload, and the first of its bytes once they are asked for.
async fn upload(address: SocketAddr, framing: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nexpect: 100-continue\r\n{framing}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 25];
    stream.read_exact(&mut said).await.unwrap();
    assert!(said.starts_with(b"HTTP/1.1 100"), "{said:?}");
    let first = if framing.contains("chunked") {
        "8\r\n"
    } else {
        ""
    };
    let first = format!("{first}12345678");
    stream.write_all(first.as_bytes()).await.unwrap();
    stream
}

/// Tells when it is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn h6_a_client_that_goes_away_passes_its_computation_on() {
    for cachify in backends() {
        let door = Door::shut();
        let gone = Arc::new(Notify::new());
        let (inside, told) = (door.clone(), Arc::clone(&gone));
        let handler = async move || {
            let dropped = Dropped(told);
            inside.pass().await;
            drop(dropped);
            "done"
        };
        let cached = CacheLayer::new(&cachify, "page");
        let address = serve(Router::new().route("/", get(handler.layer(cached)))).await;

        let first = send(address, "GET").await;
        door.until_came(1).await;
        let second = send(address, "GET").await;
        drop(first);
        gone.notified().await;
        door.until_came(2).await;
        door.open(1);
        let answer = read(second).await;
        assert!(answer.ends_with("done"), "{answer}");
        assert!(
            answer.contains("cache-status: cachify; fwd=uri-miss; stored"),
            "{answer}"
        );
        let hit = read(send(address, "GET").await).await;
        assert!(hit.contains("cache-status: cachify; hit"), "{hit}");
    }
}

#[tokio::test]
async fn h6_a_computation_finishes_and_fills_after_a_disconnect() {
    for cachify in backends() {
        let door = Door::shut();
        let done = Arc::new(Notify::new());
        let (inside, told) = (door.clone(), Arc::clone(&done));
        let handler = async move || {
            // The scope goes along.
            assert!(Cachify::current().is_some());
            inside.pass().await;
            told.notify_one();
            "done"
        };
        let cached = CacheLayer::new(&cachify, "page").finish_after_disconnect();
        let gone = Arc::new(Notify::new());
        let told = Arc::clone(&gone);
        let watch = move |request: Request, next: Next| {
            let dropped = Dropped(Arc::clone(&told));
            async move {
                let response = next.run(request).await;
                drop(dropped);
                response
            }
        };
        let app = Router::new()
            .route("/", get(handler.layer(cached)))
            .layer(axum::middleware::from_fn(watch))
            .layer(ScopeLayer::new(&cachify));
        let address = serve(app).await;

        let client = send(address, "GET").await;
        door.until_came(1).await;
        drop(client);
        gone.notified().await;
        let waiter = send(address, "GET").await;
        door.open(1);
        done.notified().await;
        assert!(read(waiter).await.ends_with("done"));
        let hit = read(send(address, "GET").await).await;
        assert!(hit.contains("cache-status: cachify; hit"), "{hit}");
        assert_eq!(door.came(), 1);
    }
}

#[derive(Deserialize, CacheKey)]
#[key("held")]
struct Held {}

#[tokio::test]
async fn h6_a_client_that_goes_away_releases_what_its_request_held() {
    for cachify in backends() {
        let door = Door::shut();
        let (inside, extracted) = (door.clone(), door.clone());
        let layered = async move || inside.pass().await;
        let guarded = async move |locked: Locked<Held>| {
            extracted.pass().await;
            drop(locked);
        };
        let layer = LockLayer::new(&cachify, "held").wait(Duration::from_mins(1));
        let app = Router::new()
            .route("/", put(layered.layer(layer)).post(guarded))
            .with_state(cachify.clone());
        let address = serve(app).await;
        let lock = cachify.lock(&key!("held"));
        for (n, method) in [(1, "PUT"), (2, "POST")] {
            let client = send(address, method).await;
            door.until_came(n).await;
            assert!(lock.is_locked().await.unwrap());
            drop(client);
            let guard = lock
                .clone()
                .wait(Duration::from_secs(10))
                .acquire()
                .await
                .unwrap();
            guard.release().await.unwrap();
        }
    }
}

#[tokio::test]
async fn p1_l6_a_stalled_upload_holds_nothing() {
    for cachify in backends() {
        let handler = async |body: Bytes| body.len().to_string();
        let pool = PoolLayer::new(&cachify, "upload", 1).body_limit(100);
        let pool = pool.body_time(Duration::from_millis(500));
        let address = serve(Router::new().route("/", put(handler.layer(pool)))).await;
        for framing in ["content-length: 40", "transfer-encoding: chunked"] {
            let stalled = upload(address, framing).await;
            // Nothing was taken for it, so the pool of one has room.
            let other = read(send(address, "PUT").await).await;
            assert!(other.starts_with("HTTP/1.1 200"), "{other}");
            let answer = read(stalled).await;
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
            assert!(answer.contains("application/problem+json"), "{answer}");
        }
        let mut long = upload(address, "content-length: 101").await;
        long.write_all(&[b'x'; 93]).await.unwrap();
        let answer = read(long).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        let mut long = upload(address, "transfer-encoding: chunked").await;
        let rest = format!("\r\n64\r\n{}\r\n", "x".repeat(100));
        long.write_all(rest.as_bytes()).await.unwrap();
        let answer = read(long).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        // What arrives is what was sent.
        let mut whole = upload(address, "content-length: 40").await;
        whole.write_all(&[b'x'; 32]).await.unwrap();
        let answer = read(whole).await;
        assert!(answer.ends_with("\r\n\r\n40"), "{answer}");
    }
}

#[tokio::test]
async fn p1_l6_a_body_layer_keeps_a_stalled_upload_from_a_guard() {
    for cachify in backends() {
        let handler = async |locked: Locked<Held>, body: Bytes| {
            locked.guard.finish().await;
            body.len().to_string()
        };
        let layer = BodyLayer::new().time(Duration::from_millis(500));
        let app = Router::new()
            .route("/", put(handler).layer(layer))
            .with_state(cachify.clone());
        let address = serve(app).await;
        let stalled = upload(address, "content-length: 40").await;
        let other = read(send(address, "PUT").await).await;
        assert!(other.starts_with("HTTP/1.1 200"), "{other}");
        let answer = read(stalled).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn l3_p1_a_streamed_upload_is_bounded_by_max_hold() {
    for cachify in backends() {
        let handler = async |body: Bytes| body.len().to_string();
        let lock = LockLayer::new(&cachify, "upload").stream_body();
        let lock = lock.max_hold(Duration::from_secs(1));
        let address = serve(Router::new().route("/", put(handler.layer(lock)))).await;
        let stalled = upload(address, "content-length: 40").await;
        let lock = cachify.lock(&key!("upload"));
        assert!(lock.is_locked().await.unwrap());
        let answer = read(stalled).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(!lock.is_locked().await.unwrap());
    }
}

/// Another program that may write to Redis must not decide where a response ends on the wire.
#[cfg(all(feature = "redis", unix))]
#[tokio::test]
async fn c6_forged_framing_splits_no_response() {
    let server = redis_fixture::Server::start();
    let builder = Cachify::builder().redis(server.url()).prefix("test");
    let cachify = builder.connect().await.unwrap();
    let split = "helloHTTP/1.1 200 OK\r\nset-cookie: id=7\r\ncontent-length: 0\r\n\r\n";
    // Names of the same length, so that the entry can be forged in place.
    let forged = [
        ("x-content-leng", "content-length", "5"),
        ("x-transfer-encodi", "transfer-encoding", "chunked"),
        ("x-nnection", "connection", "close"),
    ];
    let handler = async move || (forged.map(|(name, _, value)| (name, value)), split);
    let cached = CacheLayer::new(&cachify, "page");
    let app = Router::new()
        .route("/", get(handler.layer(cached)))
        .route("/other", get(async || "other"));
    let address = serve(app).await;
    let first = read(send(address, "GET").await).await;
    assert!(first.contains("; stored"), "{first}");

    let name = "test:cached:{page}";
    let redis_fixture::Reply::Bulk(mut entry) = server.command(&["GET", name]) else {
        panic!("nothing was stored");
    };
    for (name, other, _) in forged {
        let mut windows = entry.windows(name.len());
        let at = windows.position(|text| text == name.as_bytes()).unwrap();
        entry[at..at + other.len()].copy_from_slice(other.as_bytes());
    }
    server.command(&[b"SET", name.as_bytes(), &entry]);

    let mut stream = TcpStream::connect(address).await.unwrap();
    let requests = "GET / HTTP/1.1\r\nhost: test\r\n\r\nGET /other HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).await.unwrap();
    let answers = read(stream).await;
    let (head, rest) = answers.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("cache-status: cachify; hit"), "{answers}");
    let length = format!("content-length: {}", split.len());
    assert!(head.contains(&length), "{answers}");
    assert!(!head.contains("transfer-encoding"), "{answers}");
    let other = rest.strip_prefix(split).expect(&answers);
    assert!(other.starts_with("HTTP/1.1 200 OK"), "{answers}");
    assert!(!other.contains("set-cookie"), "{answers}");
    assert!(other.ends_with("\r\n\r\nother"), "{answers}");
}
