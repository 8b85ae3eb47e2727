//! Servers are private and obey their test; in containers too (`--features containers` where none
//! is installed).
#![allow(clippy::expect_used)]

use std::{io, thread};

use redis_fixture::{Client, Server, shared};

fn run_id(server: &Server) -> String {
    let info = server.command(&["INFO", "server"]).text();
    info.lines()
        .find_map(|line| line.strip_prefix("run_id:"))
        .expect("a run id")
        .into()
}

#[test]
fn servers_are_separate_and_take_arguments() {
    let plain = Server::start();
    let small = Server::builder().arg("--maxmemory").arg("4mb").spawn();
    plain.command(&["SET", "k", "v"]);
    assert_eq!(plain.command(&["GET", "k"]).text(), "v");
    assert!(small.command(&["GET", "k"]).is_nil());
    let setting = small.command(&["CONFIG", "GET", "maxmemory"]);
    let setting = setting.items();
    assert_eq!(setting[1].text(), "4194304");
}

#[test]
fn a_paused_server_keeps_connections_and_answers_later() {
    let server = Server::start();
    let mut client = server.client().expect("connect");
    client.command(&["INCR", "n"]).expect("open");
    server.pause();
    client.send(&["INCR", "n"]).expect("the kernel takes it");
    let mut late = server.client().expect("even a connection");
    late.send(&["INCR", "n"]).expect("the same");
    server.resume();
    assert_eq!(client.read().expect("first").int(), 2);
    assert_eq!(late.read().expect("second").int(), 3);
}

#[test]
fn killed_is_gone_and_restarted_is_empty_on_the_same_port() {
    let server = Server::start();
    let (url, before) = (server.url(), run_id(&server));
    server.command(&["SET", "k", "v"]);
    server.kill();
    let refused = server.client().expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    server.restart();
    assert_eq!(server.url(), url);
    assert_ne!(run_id(&server), before);
    assert!(server.command(&["GET", "k"]).is_nil());
    server.pause();
    server.restart(); // a stopped process can be killed too
    assert_eq!(server.command(&["PING"]).text(), "PONG");
}

#[test]
fn shared_is_one_server_for_all() {
    let url = shared();
    assert_eq!(url, thread::spawn(shared).join().expect("joined"));
    let mut client =
        Client::connect(url.strip_prefix("redis://").expect("scheme")).expect("connect");
    assert_eq!(client.command(&["PING"]).expect("answered").text(), "PONG");
}
