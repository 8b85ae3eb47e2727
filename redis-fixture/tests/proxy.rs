//! Each way in which a network fails.
#![allow(clippy::expect_used)]

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use redis_fixture::{Client, Proxy, Server};

fn start() -> (Server, Proxy) {
    let server = Server::start();
    let proxy = Proxy::start(&server.url());
    (server, proxy)
}

fn address(proxy: &Proxy) -> String {
    proxy.url().strip_prefix("redis://").expect("scheme").into()
}

fn client(proxy: &Proxy) -> Client {
    Client::connect(address(proxy)).expect("the proxy accepts")
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "{what} did not come true");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn it_carries_and_counts() {
    let (server, proxy) = start();
    let (mut one, mut two) = (client(&proxy), client(&proxy));
    let large = vec![b'x'; 3_000_000];
    one.command(&[b"SET", &b"k"[..], &large]).expect("carried");
    assert_eq!(
        two.command(&["GET", "k"]).expect("carried").text().len(),
        large.len()
    );
    assert_eq!(server.command(&["EXISTS", "k"]).int(), 1);
    assert_eq!(proxy.connections(), 2);
    until("the last bytes' accounting", || proxy.held_bytes() == 0);
    assert!(
        (3_000_000..3_000_100).contains(&proxy.request_bytes()),
        "{}",
        proxy.request_bytes()
    );
}

#[test]
fn credentials_and_database_stay_in_the_url() {
    let proxy = Proxy::start("redis://user:secret@127.0.0.1:1/3");
    let url = proxy.url();
    assert!(
        url.starts_with("redis://user:secret@127.0.0.1:") && url.ends_with("/3"),
        "{url}"
    );
}

#[test]
fn retarget_moves_new_connections_and_keeps_open_ones() {
    let (server, proxy) = start();
    let other = Server::start();
    let mut open = client(&proxy);
    open.command(&["SET", "at", "first"]).expect("open");
    proxy.retarget(&other.url());
    assert!(
        client(&proxy)
            .command(&["GET", "at"])
            .expect("moved")
            .is_nil()
    );
    assert_eq!(
        open.command(&["GET", "at"]).expect("goes on").text(),
        "first"
    );
    assert_eq!(server.command(&["DBSIZE"]).int(), 1);
}

#[test]
fn refuse_turns_new_connections_away_and_keeps_open_ones() {
    let (_server, proxy) = start();
    let mut open = client(&proxy);
    open.command(&["PING"]).expect("open");
    proxy.refuse();
    let error = TcpStream::connect(address(&proxy)).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    open.command(&["PING"]).expect("goes on");
    proxy.resume();
    client(&proxy)
        .command(&["PING"])
        .expect("accepted again, on the same port");
    assert_eq!(proxy.connections(), 2, "the refused one does not count");
}

#[test]
fn cut_closes_open_connections_only() {
    let (_server, proxy) = start();
    let mut open = client(&proxy);
    open.command(&["PING"]).expect("open");
    proxy.cut();
    open.command(&["PING"]).expect_err("closed");
    client(&proxy).command(&["PING"]).expect("a new one works");
}

#[test]
fn a_black_hole_swallows_both_ways_and_tears_what_lost_bytes() {
    let (server, proxy) = start();
    let (mut asking, mut idle) = (client(&proxy), client(&proxy));
    let mut listening = client(&proxy);
    idle.command(&["PING"]).expect("open");
    listening
        .command(&["SUBSCRIBE", "news"])
        .expect("subscribed");
    let requests = proxy.request_bytes();

    proxy.black_hole();
    asking
        .send(&["SET", "k", "v"])
        .expect("the sender notices nothing");
    let mut newcomer = client(&proxy);
    assert_eq!(
        server.command(&["PUBLISH", "news", "lost"]).int(),
        1,
        "the server notices nothing either"
    );
    newcomer.send(&["SET", "k", "v"]).expect("sent");
    let mut raw = TcpStream::connect(address(&proxy)).expect("accepted");
    raw.set_read_timeout(Some(Duration::from_millis(50)))
        .expect("timeout");
    assert!(matches!(
        raw.read(&mut [0]).map_err(|error| error.kind()),
        Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)
    ));
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n".len();
    let message = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\nlost\r\n".len();
    let swallowed = (2 * set + message) as u64;
    until("the loss", || proxy.swallowed_bytes() == swallowed);
    assert_eq!(proxy.request_bytes(), requests);
    assert!(server.command(&["GET", "k"]).is_nil());

    proxy.resume();
    for mut torn in [asking, newcomer, listening] {
        let error = torn.read().expect_err("bytes are missing: no going on");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
    assert_eq!(
        idle.command(&["PING"]).expect("lost nothing").text(),
        "PONG"
    );
}

#[test]
fn a_black_hole_hides_the_end_of_a_connection() {
    let (server, proxy) = start();
    let mut open = client(&proxy);
    open.command(&["PING"]).expect("open");
    proxy.black_hole();
    server.kill();
    let (send, ended) = std::sync::mpsc::channel();
    thread::spawn(move || send.send(open.read().map_err(|error| error.kind())));
    ended
        .recv_timeout(Duration::from_millis(50))
        .expect_err("nothing gets through, its end neither");
    proxy.resume();
    assert_eq!(ended.recv().expect("ended"), Err(ErrorKind::UnexpectedEof));
}

#[test]
fn held_replies_come_after_their_requests_took_effect() {
    let (server, proxy) = start();
    let mut client = client(&proxy);
    client.command(&["PING"]).expect("open");
    proxy.hold_replies();
    client.send(&["INCR", "n"]).expect("sent");
    client.send(&["INCR", "n"]).expect("sent");
    until("two replies", || proxy.held_bytes() == 8);
    assert_eq!(server.command(&["GET", "n"]).text(), "2");
    proxy.resume();
    assert_eq!(
        (
            client.read().expect("first").int(),
            client.read().expect("second").int()
        ),
        (1, 2)
    );
}

#[test]
fn held_answers_leave_messages_of_channels_alone() {
    let (server, proxy) = start();
    let (mut listener, mut other) = (client(&proxy), client(&proxy));
    listener
        .command(&["SUBSCRIBE", "news"])
        .expect("subscribed");
    proxy.hold_answers();
    other.send(&["INCR", "n"]).expect("sent");
    until("a reply", || proxy.held_bytes() == 4);
    server.command(&["PUBLISH", "news", "x"]);
    assert_eq!(listener.read().expect("a message").items()[2].text(), "x");
    assert_eq!(proxy.held_bytes(), 4);
    proxy.resume();
    assert_eq!(other.read().expect("the reply").int(), 1);
}

#[test]
fn a_deafened_network_swallows_subscriptions_alone() {
    let (server, proxy) = start();
    let (mut listener, mut other) = (client(&proxy), client(&proxy));
    listener
        .command(&["SUBSCRIBE", "news"])
        .expect("subscribed");
    proxy.deafen();
    server.command(&["PUBLISH", "news", "x"]);
    until("the message is swallowed", || proxy.swallowed_bytes() > 0);
    assert_eq!(other.command(&["INCR", "n"]).expect("carried").int(), 1);
    let mut late = client(&proxy);
    let swallowed = proxy.swallowed_bytes();
    late.send(&["SUBSCRIBE", "news"]).expect("sent");
    until("so is a new subscription", || {
        proxy.swallowed_bytes() > swallowed
    });
    proxy.resume();
    listener.read().expect_err("it lost bytes");
    assert_eq!(other.command(&["INCR", "n"]).expect("carried").int(), 2);
}

#[test]
fn delayed_replies_take_that_long_and_overlap() {
    let (_server, proxy) = start();
    let mut client = client(&proxy);
    client.command(&["PING"]).expect("open");
    proxy.delay(Duration::from_millis(200));
    let start = Instant::now();
    for sent in 1..=20 {
        client.send(&["PING"]).expect("sent");
        until("the reply", || {
            proxy.held_bytes() == 7 * sent || start.elapsed().as_millis() > 200
        });
    }
    client.read().expect("first");
    assert!(start.elapsed() >= Duration::from_millis(200));
    for _ in 1..20 {
        client.read().expect("later");
    }
    let all = start.elapsed();
    assert!(all < Duration::from_secs(2), "delays overlap: {all:?}");
    proxy.resume();
    client.command(&["PING"]).expect("at once");
}

#[test]
fn a_server_that_died_ends_the_connection_and_a_restarted_one_serves_again() {
    let (server, proxy) = start();
    let mut open = client(&proxy);
    open.command(&["PING"]).expect("open");
    server.kill();
    open.read().expect_err("closed");
    server.restart();
    client(&proxy).command(&["PING"]).expect("served");
}
