//! H6 over real sockets: what happens when a client goes away.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cachify_warp::{Cache, Cachify, FilterExt, Guard, Lock, get_or_head, key};
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
        let cache = Cache::new(&cachify);
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
        let cache = Cache::new(&cachify);
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
async fn h6_a_detached_computation_finishes_and_fills() {
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
        let cache = Cache::new(&cachify).detach();
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
        let wait = Lock::new(&cachify).wait(Duration::from_mins(1));
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
