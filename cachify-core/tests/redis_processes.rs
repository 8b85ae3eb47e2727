//! Processes that are killed, or stopped and resumed.
#![cfg(all(feature = "redis", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use cachify_core::{Cachify, ErrorKind, Guard};
use common::{MILLI, SECOND, connect, key, soon, until};
use redis_fixture::Server;
use tokio::time::{Instant, sleep};

/// The server's address, set for the child processes.
const URL: &str = "CACHIFY_TEST_OTHER_PROCESS";

/// Runs in the other process: takes the lock and counts for as long as it holds it. Does nothing
/// without the variable.
#[tokio::test]
async fn the_other_process() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let cachify = connect(&url).await;
    let lock = cachify.lock(&key("door")).ttl(SECOND).wait(60 * SECOND);
    let guard = lock.acquire().await.unwrap();
    let work = guard.run(async {
        for count in 1_u64.. {
            cachify.cached(&key("count")).set(count).await.unwrap();
            sleep(MILLI).await;
        }
    });
    assert_eq!(work.await.unwrap_err().kind(), ErrorKind::Lost);
}

/// A child process. If this process dies, the child ends with the server.
struct Other(std::process::Child);

impl Other {
    fn start(server: &Server) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_process"])
            .env(URL, server.url())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    async fn stop(&self) {
        self.signal("-STOP");
        until("it is stopped", async || {
            let pid = self.0.id().to_string();
            let state = Command::new("ps")
                .args(["-o", "stat=", "-p", &pid])
                .output();
            state.unwrap().stdout.starts_with(b"T")
        })
        .await;
    }

    fn go_on(&self) {
        self.signal("-CONT");
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("it ends", async || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

async fn waiting_are(server: &Server, count: i64) {
    until("they wait", async || {
        server.command(&["ZCARD", "test:lock:{door}:queue"]).int() == count
    })
    .await;
}

async fn counts(cachify: &Cachify) -> Option<u64> {
    cachify.cached(&key("count")).get().await.unwrap()
}

fn waiter(cachify: &Cachify) -> tokio::task::JoinHandle<Guard> {
    let lock = cachify.lock(&key("door")).wait(30 * SECOND);
    tokio::spawn(async move { lock.acquire().await.unwrap() })
}

#[tokio::test]
async fn l2_s12_exactly_one_follows_a_holder_that_was_killed() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    let mut holder = Other::start(&server);
    until("it holds", async || counts(&cachify).await.is_some()).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for n in 0..4 {
        let (lock, order) = (cachify.lock(&key("door")), Arc::clone(&order));
        waiters.push(tokio::spawn(async move {
            let guard = lock.wait(30 * SECOND).acquire().await.unwrap();
            order.lock().unwrap().push((n, guard.fencing_token()));
            guard.release().await.unwrap();
        }));
        waiting_are(&server, n + 1).await;
    }
    let start = Instant::now();
    holder.kill();
    for waiter in waiters {
        soon("each proceeds", waiter).await.unwrap();
    }
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    let order = order.lock().unwrap();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(order.len(), 4);
}

#[tokio::test]
async fn l2_s11_a_process_at_the_head_that_was_killed_or_stopped_is_passed_over() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    for kill in [true, false] {
        let guard = cachify.lock(&key("door")).acquire().await.unwrap();
        let mut head = Other::start(&server);
        waiting_are(&server, 1).await;
        let next = waiter(&cachify);
        waiting_are(&server, 2).await;
        if kill {
            head.kill();
        } else {
            head.stop().await;
        }
        let start = Instant::now();
        guard.release().await.unwrap();
        let guard = soon("the next proceeds", next).await.unwrap();
        // At most a claim, plus the time that a loaded machine adds.
        assert!(start.elapsed() < 1500 * MILLI, "{:?}", start.elapsed());
        assert!(!guard.is_lost());
        if !kill {
            head.go_on();
            guard.release().await.unwrap();
            until("it has its turn late", async || {
                counts(&cachify).await.is_some()
            })
            .await;
        }
    }
}

#[tokio::test]
async fn l4_s24_a_holder_that_was_stopped_does_not_go_on() {
    let server = Server::start();
    let cachify = connect(&server.url()).await;
    let mut holder = Other::start(&server);
    until("it holds", async || counts(&cachify).await.is_some()).await;
    holder.stop().await;
    let next = soon("the next", waiter(&cachify)).await.unwrap();
    let count = counts(&cachify).await;
    holder.go_on();
    assert!(holder.ended().await.success(), "it knows its loss");
    assert_eq!(counts(&cachify).await, count, "and did nothing before");
    assert!(!next.is_lost());
    next.release().await.unwrap();
}
