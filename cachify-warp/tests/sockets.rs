//! H6 over real sockets: what happens when a client goes away.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachify_warp::{
    CacheOptions, Cachify, FilterExt, Guard, LockOptions, Permit, PoolOptions, get_or_head, key,
};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use support::{App, Door, app, backends};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use warp::Filter;

async fn serve(app: App) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(warp::serve(app).incoming(listener).run());
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

/// Sends the head of an upload, and the first of its bytes once they are asked for. Returns what was answered instead otherwise.
async fn upload(address: SocketAddr, framing: &str) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nexpect: 100-continue\r\n{framing}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 25];
    stream.read_exact(&mut said).await.unwrap();
    if !said.starts_with(b"HTTP/1.1 100") {
        return Err(String::from_utf8_lossy(&said).into_owned() + &read(stream).await);
    }
    let first = if framing.contains("chunked") {
        "8\r\n"
    } else {
        ""
    };
    let first = format!("{first}12345678");
    stream.write_all(first.as_bytes()).await.unwrap();
    Ok(stream)
}

/// Tells when it is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn h3_head_has_no_body_on_the_wire() {
    for cachify in backends() {
        let route = warp::path::end().and(get_or_head());
        let cache = CacheOptions::new(&cachify);
        let address = serve(app(route.cached(
            cache,
            |()| key!("page"),
            async || "hello",
        )))
        .await;
        for (method, end, cache) in [
            ("HEAD", "\r\n\r\n", "cachify; fwd=uri-miss"),
            ("GET", "\r\n\r\nhello", "cachify; fwd=uri-miss; stored"),
            ("HEAD", "\r\n\r\n", "cachify; hit"),
            ("GET", "\r\n\r\nhello", "cachify; hit"),
        ] {
            let answer = read(send(address, method).await).await;
            assert!(answer.ends_with(end), "{method}: {answer}");
            assert!(
                answer.contains("content-length: 5\r\n"),
                "{method}: {answer}"
            );
            assert!(answer.contains(cache), "{method}: {answer}");
        }
    }
}

#[tokio::test]
async fn h6_a_client_that_goes_away_passes_its_computation_on() {
    for cachify in backends() {
        let door = Door::shut();
        let gone = Arc::new(Notify::new());
        let (inside, told) = (door.clone(), Arc::clone(&gone));
        let handler = move || {
            let (inside, dropped) = (inside.clone(), Dropped(Arc::clone(&told)));
            async move {
                inside.pass().await;
                drop(dropped);
                "done"
            }
        };
        let route = warp::path::end().and(warp::get());
        let cache = CacheOptions::new(&cachify);
        let address = serve(app(route.cached(cache, |()| key!("page"), handler))).await;

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
        let handler = move || {
            let (inside, told) = (inside.clone(), Arc::clone(&told));
            async move {
                // The scope goes along.
                assert!(Cachify::current().is_some());
                inside.pass().await;
                told.notify_one();
                "done"
            }
        };
        let route = warp::path::end().and(warp::get());
        let cache = CacheOptions::new(&cachify).finish_after_disconnect();
        let address = serve(app(route.cached(cache, |()| key!("page"), handler))).await;

        let client = send(address, "GET").await;
        door.until_came(1).await;
        drop(client);
        // The server reads on a connection that is gone before it answers on another one.
        let waiter = send(address, "GET").await;
        door.open(1);
        done.notified().await;
        assert!(read(waiter).await.ends_with("done"));
        let hit = read(send(address, "GET").await).await;
        assert!(hit.contains("cache-status: cachify; hit"), "{hit}");
        assert_eq!(door.came(), 1);
    }
}

#[tokio::test]
async fn h6_a_client_that_goes_away_releases_what_its_request_held() {
    for cachify in backends() {
        let door = Door::shut();
        let (inside, extracted) = (door.clone(), door.clone());
        let handled = move || {
            let inside = inside.clone();
            async move {
                inside.pass().await;
                "done"
            }
        };
        let guarded = move |guard: Guard| {
            let extracted = extracted.clone();
            async move {
                extracted.pass().await;
                drop(guard);
                "done"
            }
        };
        let wait = LockOptions::new(&cachify).wait(Duration::from_mins(1));
        let put = warp::put().then_locked(wait, |()| key!("held"), handled);
        let post = warp::post()
            .locked(&cachify, |()| key!("held"))
            .then(guarded);
        let address = serve(app(put.or(post))).await;
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
async fn p1_l6_a_stalled_upload_holds_nothing_where_its_body_comes_first() {
    for cachify in backends() {
        let body = || warp::put().and(warp::body::bytes());
        let pool = || PoolOptions::new(&cachify, 1);
        let handled = body().then_pooled(
            pool(),
            |_| key!("upload"),
            async |body: Bytes| body.len().to_string(),
        );
        let guarded =
            body()
                .pooled(pool(), |_| key!("upload"))
                .then(async |body: Bytes, permit: Permit| {
                    permit.finish().await;
                    body.len().to_string()
                });
        for filter in [app(handled), app(guarded)] {
            let address = serve(filter).await;
            let mut stalled = upload(address, "content-length: 40").await.unwrap();
            let other = read(send(address, "PUT").await).await;
            assert!(other.starts_with("HTTP/1.1 200"), "{other}");
            stalled.write_all(&[b'x'; 32]).await.unwrap();
            let answer = read(stalled).await;
            assert!(answer.ends_with("\r\n\r\n40"), "{answer}");
        }
    }
}

fn pieces<T: 'static>(body: impl Stream<Item = T> + Send + 'static) -> BoxStream<'static, ()> {
    body.map(drop).boxed()
}

#[tokio::test]
async fn l3_p1_a_streamed_upload_is_bounded_by_max_hold() {
    for cachify in backends() {
        let lock = LockOptions::new(&cachify).max_hold(Duration::from_secs(1));
        let route = warp::put().and(warp::body::stream());
        let route = route.map(pieces).then_locked(
            lock,
            |_| key!("upload"),
            async |body: BoxStream<'static, ()>| body.count().await.to_string(),
        );
        let address = serve(app(route)).await;
        let stalled = upload(address, "content-length: 40").await.unwrap();
        let lock = cachify.lock(&key!("upload"));
        assert!(lock.is_locked().await.unwrap());
        let answer = read(stalled).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(!lock.is_locked().await.unwrap());
    }
}
