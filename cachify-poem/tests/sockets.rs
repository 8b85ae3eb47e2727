//! Over real sockets: what happens when a client goes away (H6), and which route a request is of (H9), which poem's `TestClient` does not tell.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cachify_poem::{
    CacheKey, CacheMiddleware, Cachify, HangupListener, LockMiddleware, Locked, PoolMiddleware,
    ScopeMiddleware, key,
};
use poem::endpoint::{make, make_sync};
use poem::listener::{Acceptor as _, Listener as _, TcpListener};
use poem::web::{Data, LocalAddr};
use poem::{Addr, Endpoint as _, EndpointExt as _, IntoEndpoint, Route, Server, get, handler, put};
use serde::Deserialize;
use support::{Door, backends};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

async fn serve<E: IntoEndpoint<Endpoint: 'static>>(app: E) -> std::net::SocketAddr {
    let listener = HangupListener::new(TcpListener::bind("127.0.0.1:0"));
    let acceptor = listener.into_acceptor().await.unwrap();
    let LocalAddr(Addr::SocketAddr(address)) = acceptor.local_addr().remove(0) else {
        unreachable!("it listens on TCP");
    };
    let app = app.into_endpoint();
    tokio::spawn(async move { Server::new_with_acceptor(acceptor).run(app).await });
    address
}

async fn send(address: std::net::SocketAddr, method: &str) -> TcpStream {
    send_to(address, method, "/").await
}

async fn send_to(address: std::net::SocketAddr, method: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Sends the head of an upload, and the first of its bytes once they are asked for.
async fn upload(address: std::net::SocketAddr, framing: &str) -> TcpStream {
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
        let endpoint = make(move |_| {
            let (door, told) = (inside.clone(), Arc::clone(&told));
            async move {
                let dropped = Dropped(told);
                door.pass().await;
                drop(dropped);
                "done"
            }
        });
        let address = serve(get(
            endpoint.with(CacheMiddleware::new(&cachify, "page").same_on_every_route())
        ))
        .await;

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
        let endpoint = make(move |_| {
            let (door, told) = (inside.clone(), Arc::clone(&told));
            async move {
                // The scope goes along.
                assert!(Cachify::current().is_some());
                door.pass().await;
                told.notify_one();
                "done".to_owned()
            }
        });
        let cached = endpoint.with(
            CacheMiddleware::new(&cachify, "page")
                .same_on_every_route()
                .finish_after_disconnect(),
        );
        let gone = Arc::new(Notify::new());
        let told = Arc::clone(&gone);
        let watched = cached.around(move |inner, request| {
            let dropped = Dropped(Arc::clone(&told));
            async move {
                let response = inner.call(request).await;
                drop(dropped);
                response
            }
        });
        let address = serve(get(watched).with(ScopeMiddleware::new(&cachify))).await;

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

#[handler]
async fn guarded(Data(door): Data<&Door>, _guard: Locked<Held>) {
    door.pass().await;
}

#[handler]
async fn unguarded(Data(door): Data<&Door>) {
    door.pass().await;
}

#[tokio::test]
async fn h6_a_client_that_goes_away_releases_what_its_request_held() {
    for cachify in backends() {
        let door = Door::shut();
        let middleware = LockMiddleware::new(&cachify, "held").wait(Duration::from_mins(1));
        let app = put(unguarded.with(middleware)).post(guarded);
        let address = serve(app.data(cachify.clone()).data(door.clone())).await;
        let lock = cachify.lock(&key!("held"));
        for (n, method) in [(1, "PUT"), (2, "POST")] {
            let client = send(address, method).await;
            door.until_came(n).await;
            assert!(lock.is_locked().await.unwrap());
            drop(client);
            let patient = lock.clone().wait(Duration::from_secs(10));
            patient.acquire().await.unwrap().release().await.unwrap();
        }
    }
}

#[handler]
#[allow(clippy::needless_pass_by_value)] // An extractor.
fn length(body: Vec<u8>) -> String {
    body.len().to_string()
}

#[tokio::test]
async fn p1_l6_a_stalled_upload_holds_nothing() {
    for cachify in backends() {
        let pool = PoolMiddleware::new(&cachify, "upload", 1).body_limit(100);
        let pool = pool.body_time(Duration::from_millis(500));
        let address = serve(Route::new().at("/", put(length.with(pool)))).await;
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

#[handler]
async fn guarded_length(locked: Locked<Held>, body: Vec<u8>) -> String {
    locked.guard.finish().await;
    body.len().to_string()
}

#[tokio::test]
async fn p1_l6_a_stalled_upload_takes_no_guard() {
    for cachify in backends() {
        let app = Route::new().at("/", put(guarded_length));
        let address = serve(app.data(cachify)).await;
        let mut stalled = upload(address, "content-length: 40").await;
        let other = read(send(address, "PUT").await).await;
        assert!(other.starts_with("HTTP/1.1 200"), "{other}");
        stalled.write_all(&[b'x'; 32]).await.unwrap();
        let answer = read(stalled).await;
        assert!(answer.ends_with("\r\n\r\n40"), "{answer}");
    }
}

#[tokio::test]
async fn l3_p1_a_streamed_upload_is_bounded_by_max_hold() {
    for cachify in backends() {
        let lock = LockMiddleware::new(&cachify, "upload").stream_body();
        let lock = lock.max_hold(Duration::from_secs(1));
        let address = serve(Route::new().at("/", put(length.with(lock)))).await;
        let stalled = upload(address, "content-length: 40").await;
        let lock = cachify.lock(&key!("upload"));
        assert!(lock.is_locked().await.unwrap());
        let answer = read(stalled).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(!lock.is_locked().await.unwrap());
    }
}

#[tokio::test]
async fn h9_one_middleware_over_several_routes_answers_each_with_its_own() {
    const STORED: &str = "cachify; fwd=uri-miss; stored\r\n";
    const HIT: &str = "cachify; hit";
    const ROUTE: &str = "cachify; fwd=bypass; detail=route\r\n";
    let original = || make_sync(|request| request.original_uri().to_string());
    for cachify in backends() {
        let cached = |template| CacheMiddleware::new(&cachify, template);
        let row = cached("row-{id}");
        let (page, path) = (cached("page"), cached("path-{path}"));
        // Around a `Route`, nothing tells its routes apart, but the path.
        let inner = || Route::new().at("/a", original()).at("/b", original());
        let app = Route::new()
            .at("/users/:id", original().with(row.clone()))
            .at("/orders/:id<[^/]+>", original().with(row.clone()))
            .nest("/in", Route::new().at("/:id", original().with(row)))
            .nest("/page", inner().with(page))
            .nest("/path", inner().with(path.clone()))
            .nest("/also", inner().with(path));
        let address = serve(app).await;
        for (path, said) in [
            ("/users/7", STORED),
            ("/orders/7", ROUTE),
            ("/in/7", ROUTE),
            ("/users/7", HIT),
            ("/page/a", ROUTE),
            ("/page/b", ROUTE),
            ("/path/a", STORED),
            ("/path/b", STORED),
            ("/also/a", STORED),
            ("/path/a", HIT),
        ] {
            let answer = read(send_to(address, "GET", path).await).await;
            assert!(answer.contains(said), "{path}: {answer}");
            assert!(answer.ends_with(path), "{path}: {answer}");
        }
    }
}
