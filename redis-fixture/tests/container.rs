//! The setup of a machine with Docker and without Redis. Needs a Docker engine, and the image or a
//! registry.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use redis_fixture::Server;

#[test]
fn a_container_serves_with_its_arguments_and_goes_with_its_handle() {
    let server = Server::builder()
        .in_container()
        .arg("--maxmemory")
        .arg("5mb")
        .spawn();
    let setting = server.command(&["CONFIG", "GET", "maxmemory"]);
    let setting = setting.items();
    assert_eq!(setting[1].text(), "5242880");

    server.command(&["SET", "k", "v"]);
    server.pause();
    let mut client = server.client().expect("the engine accepts for it");
    client.send(&["GET", "k"]).expect("sent");
    server.resume();
    assert_eq!(client.read().expect("answered now").text(), "v");

    server.restart();
    assert!(server.command(&["GET", "k"]).is_nil(), "a fresh process");
    server.kill();
    assert!(
        server
            .client()
            .and_then(|mut client| client.command(&["PING"]))
            .is_err()
    );
    let address = ("127.0.0.1", server.port());
    drop(server);
    assert!(
        TcpStream::connect(address).is_err(),
        "the container is gone"
    );
}

#[test]
fn a_container_does_not_outlive_a_killed_test_process() {
    if env::var_os("RERUN").is_some() {
        let server = Server::builder().in_container().spawn();
        println!("\nport {}", server.port());
        thread::park(); // until killed
    }
    let mut child = Command::new(env::current_exe().expect("this test"))
        .args([
            "--exact",
            "a_container_does_not_outlive_a_killed_test_process",
        ])
        .args(["--nocapture"])
        .env("RERUN", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let port = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("port ").map(str::to_owned));
    let address = format!("127.0.0.1:{}", port.expect("a container"));
    TcpStream::connect(&address).expect("it runs");
    child.kill().expect("kill");
    child.wait().expect("reaped");
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&address).is_ok() {
        assert!(Instant::now() < end, "the container goes on");
        thread::sleep(Duration::from_millis(20));
    }
}
