//! Behaviour that only servers of this machine have; `container.rs` has its own tests.
#![cfg(not(feature = "containers"))]
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use redis_fixture::{Cluster, Sentinels, Server, shared};

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "{what} did not come true");
        thread::sleep(Duration::from_millis(1));
    }
}

fn process_id(server: &Server) -> String {
    let info = server.command(&["INFO", "server"]).text();
    info.lines()
        .find_map(|line| line.strip_prefix("process_id:"))
        .expect("a process id")
        .into()
}

/// Runs `test` of this file again in a child process, with `envs`.
fn rerun(test: &str, envs: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env::current_exe().expect("this test"));
    command
        .args(["--exact", test, "--nocapture"])
        .env("RERUN", "1")
        .envs(envs.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn is_rerun() -> bool {
    env::var_os("RERUN").is_some()
}

#[test]
fn the_unix_socket_is_the_same_server() {
    use std::io::{Read, Write};
    let server = Server::start();
    let url = server.unix_url();
    let mut stream =
        std::os::unix::net::UnixStream::connect(url.strip_prefix("redis+unix://").expect("scheme"))
            .expect("connect");
    stream.write_all(b"SET k v\r\n").expect("send");
    stream.read_exact(&mut [0; 5]).expect("+OK");
    assert_eq!(server.command(&["GET", "k"]).text(), "v");
}

#[test]
fn a_paused_process_is_stopped_when_the_call_returns() {
    let server = Server::start();
    let stat = format!("/proc/{}/stat", process_id(&server));
    for _ in 0..100 {
        server.pause();
        server.pause(); // pausing twice changes nothing
        if let Ok(stat) = fs::read_to_string(&stat) {
            assert!(stat.contains(") T "), "{stat}");
        }
        server.resume();
    }
}

/// Runs `start` in a child process, kills the child, and waits until the servers and their
/// directories are gone.
fn end_with_a_killed_process<T>(
    test: &str,
    start: impl Fn() -> T,
    servers: impl Fn(&T) -> Vec<&Server>,
) {
    use std::io::{BufRead, BufReader};
    if is_rerun() {
        let group = start();
        println!();
        for server in servers(&group) {
            println!("server {} {}", process_id(server), server.unix_url());
        }
        println!("all");
        loop {
            thread::park(); // until killed
        }
    }
    let mut child = rerun(test, &[]).spawn().expect("spawn");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let lines = lines.map_while(Result::ok).take_while(|line| line != "all");
    let lines: Vec<String> = lines.filter(|line| line.starts_with("server ")).collect();
    let ends: Vec<(&str, &Path)> = lines
        .iter()
        .map(|line| {
            let [_, id, url] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("three words: {line}")
            };
            let socket = Path::new(url.strip_prefix("redis+unix://").expect("scheme"));
            (id, socket.parent().expect("parent"))
        })
        .collect();
    assert!(!ends.is_empty(), "a server");
    let runs = |id: &str| {
        let status = Command::new("kill")
            .args(["-0", id])
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    for (id, dir) in &ends {
        assert!(runs(id) && dir.exists());
    }
    child.kill().expect("kill");
    child.wait().expect("reaped");
    for (id, dir) in ends {
        until("the server's end", || !runs(id));
        until("the directory's removal", || !dir.exists());
    }
}

#[test]
fn servers_end_with_a_killed_test_process() {
    let test = "servers_end_with_a_killed_test_process";
    end_with_a_killed_process(test, Server::start, |server| vec![server]);
}

#[test]
fn clusters_end_with_a_killed_test_process() {
    let test = "clusters_end_with_a_killed_test_process";
    end_with_a_killed_process(test, Cluster::start, |cluster| {
        cluster.nodes().iter().collect()
    });
}

#[test]
fn sentinels_end_with_a_killed_test_process() {
    let test = "sentinels_end_with_a_killed_test_process";
    end_with_a_killed_process(test, Sentinels::start, |all| {
        all.nodes().iter().chain(all.sentinels()).collect()
    });
}

#[test]
fn a_port_stays_with_its_server_while_it_is_killed() {
    let server = Server::start();
    server.kill();
    UdpSocket::bind(("127.0.0.1", server.port())).expect_err("claimed");
    let port = server.port();
    drop(server);
    UdpSocket::bind(("127.0.0.1", port)).expect("free");
}

#[test]
fn the_named_server_is_shared_instead_of_a_new_one() {
    if is_rerun() {
        assert_eq!(shared(), "redis://named:1");
        return;
    }
    let envs = [("CACHIFY_TEST_REDIS_URL", "redis://named:1")];
    let output = rerun("the_named_server_is_shared_instead_of_a_new_one", &envs)
        .output()
        .expect("run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn without_any_server_the_message_says_what_to_install() {
    if is_rerun() {
        Server::start();
        return;
    }
    let output = rerun(
        "without_any_server_the_message_says_what_to_install",
        &[("PATH", "/nowhere")],
    );
    let output = { output }
        .env_remove("CACHIFY_REDIS_SERVER")
        .output()
        .expect("run");
    assert!(!output.status.success(), "no silent skip");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("cargo xtask test") && message.contains("redis-server"),
        "{message}"
    );
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    if is_rerun() {
        Server::builder().arg("--no-such-setting").arg("1").spawn();
        return;
    }
    let output = rerun("a_server_that_does_not_start_shows_its_log", &[])
        .output()
        .expect("run");
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("no-such-setting") && message.contains("did not start"),
        "{message}"
    );
}
