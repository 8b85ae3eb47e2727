//! The way of a machine that has Docker and no Redis.
#![allow(clippy::expect_used)]

use redis_fixture::{Reply, Server};

#[test]
fn a_container_serves_with_its_arguments_and_goes_with_its_handle() {
    let server = Server::builder()
        .in_container()
        .arg("--maxmemory")
        .arg("5mb")
        .spawn();
    let Reply::Array(setting) = server.command(&["CONFIG", "GET", "maxmemory"]) else {
        panic!("an array")
    };
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
        std::net::TcpStream::connect(address).is_err(),
        "the container is gone"
    );
}
