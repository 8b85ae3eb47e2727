//! A cluster does what its handle says, seen by clients.
#![cfg(not(feature = "containers"))]
#![allow(clippy::expect_used)]

use std::collections::HashSet;
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use redis_fixture::{Client, Cluster, Failover, Reply};

/// Returns a key that `node` serves.
fn key_at(cluster: &Cluster, node: usize) -> String {
    let mut keys = (0..).map(|number| format!("key {number}"));
    keys.find(|key| cluster.node_of(key) == node).expect("some")
}

/// Sets a key where it belongs, and waits until the replica has it.
fn set(cluster: &Cluster, key: &str, value: &str) {
    let mut client = cluster.nodes()[cluster.node_of(key)]
        .client()
        .expect("connect");
    let reply = client.command(&["SET", key, value]).expect("answered");
    assert_eq!(reply.text(), "OK");
    let reached = client.command(&["WAIT", "1", "5000"]).expect("answered");
    assert_eq!(reached.int(), 1, "a replica");
}

fn get(cluster: &Cluster, node: usize, key: &str) -> Reply {
    cluster.nodes()[node].command(&["GET", key])
}

fn is_replica(cluster: &Cluster, node: usize) -> bool {
    cluster.nodes()[node].command(&["ROLE"]).items()[0].text() == "slave"
}

/// Returns the redirection to `node` for `key`.
fn redirection(kind: &str, cluster: &Cluster, node: usize, key: &str) -> Reply {
    let url = cluster.nodes()[node].url();
    let address = url.split_once("://").expect("a scheme").1;
    Reply::Error(format!("{kind} {} {address}", Cluster::slot(key)))
}

#[test]
fn slots_are_those_of_the_server() {
    assert_eq!(Cluster::slot("123456789"), 0x31c3);
    let server = redis_fixture::Server::builder()
        .arg("--cluster-enabled")
        .arg("yes")
        .arg("--cluster-port")
        .arg("0")
        .spawn();
    for key in [
        "",
        "foo",
        "{user}.a",
        "{user}.b",
        "foo{}{bar}",
        "foo{{bar}}zap",
        "foo{bar}{zap}",
        "{",
        "a}b{c",
    ] {
        let slot = server.command(&["CLUSTER", "KEYSLOT", key]).int();
        assert_eq!(i64::from(Cluster::slot(key)), slot, "{key}");
    }
}

#[test]
fn a_started_cluster_serves_replicates_and_redirects() {
    let cluster = Cluster::start();
    assert_eq!(cluster.masters(), [0, 1, 2]);
    assert_eq!(
        (0..3)
            .map(|master| cluster.replica_of(master))
            .collect::<Vec<_>>(),
        [3, 4, 5]
    );
    let urls: Vec<_> = cluster
        .nodes()
        .iter()
        .map(redis_fixture::Server::url)
        .collect();
    assert_eq!(cluster.seeds(), urls);
    assert_eq!(cluster.url(), urls[0]);
    for node in 0..3 {
        let key = key_at(&cluster, node);
        set(&cluster, &key, "v");
        assert_eq!(get(&cluster, node, &key).text(), "v");
        for other in (0..6).filter(|other| *other != node) {
            assert_eq!(
                get(&cluster, other, &key),
                redirection("MOVED", &cluster, node, &key)
            );
        }
    }
    for server in cluster.nodes() {
        let shards = server.command(&["CLUSTER", "SHARDS"]);
        let sizes: Vec<_> = shards
            .items()
            .iter()
            .map(|shard| shard.field("nodes").items().len())
            .collect();
        assert_eq!(sizes, [2, 2, 2], "{}", server.url());
    }
}

#[test]
fn a_slot_stays_between_two_nodes_until_its_migration_is_finished() {
    let cluster = Cluster::start();
    let key = |number: usize| format!("{{tag}} {number}");
    for number in 0..5 {
        set(&cluster, &key(number), &number.to_string());
    }
    let from = cluster.node_of("tag");
    let to = (from + 1) % 3;
    let migration = cluster.migrate_slot(Cluster::slot("tag"), to);
    assert_eq!(migration.from(), from);
    assert_eq!(migration.move_keys(3), 3);
    let (there, moved): (Vec<_>, Vec<_>) = (0..5)
        .map(key)
        .partition(|key| !matches!(get(&cluster, from, key), Reply::Error(_)));
    assert_eq!((there.len(), moved.len()), (2, 3));
    assert_eq!(
        get(&cluster, from, &moved[0]),
        redirection("ASK", &cluster, to, "tag")
    );
    assert_eq!(
        get(&cluster, to, &moved[0]),
        redirection("MOVED", &cluster, from, "tag")
    );
    let mut client = cluster.nodes()[to].client().expect("connect");
    client.command(&["ASKING"]).expect("answered");
    client
        .command(&["GET", &moved[0]])
        .expect("answered")
        .text();
    assert_eq!(cluster.node_of("tag"), from);

    migration.finish();
    assert_eq!(cluster.node_of("tag"), to);
    for number in 0..5 {
        assert_eq!(get(&cluster, to, &key(number)).text(), number.to_string());
    }
    assert_eq!(
        get(&cluster, from, &key(0)),
        redirection("MOVED", &cluster, to, "tag")
    );
}

#[test]
fn a_replica_is_promoted_gracefully_by_force_or_without_asking() {
    let cluster = Cluster::start();
    let key = key_at(&cluster, 0);
    set(&cluster, &key, "v");
    cluster.promote(3, Failover::Graceful);
    assert_eq!(cluster.node_of(&key), 3);
    assert_eq!(cluster.replica_of(3), 0);
    assert!(is_replica(&cluster, 0));
    assert_eq!(get(&cluster, 3, &key).text(), "v");

    // Its master does not answer, the others vote.
    cluster.nodes()[3].pause();
    cluster.promote(0, Failover::Force);
    assert_eq!(cluster.node_of(&key), 0);
    cluster.nodes()[3].resume();
    cluster.wait_ready();
    assert!(is_replica(&cluster, 3));
    assert_eq!(get(&cluster, 0, &key).text(), "v");

    // Nobody answers.
    cluster.nodes()[0].kill();
    for other in [1, 2, 4, 5] {
        cluster.nodes()[other].pause();
    }
    cluster.nodes()[3]
        .command(&["CLUSTER", "FAILOVER", "TAKEOVER"])
        .text();
    assert!(!is_replica(&cluster, 3));
    for other in [1, 2, 4, 5] {
        cluster.nodes()[other].resume();
    }
    cluster.wait_ready();
    assert_eq!(cluster.node_of(&key), 3);
    cluster.promote(4, Failover::Takeover);
    assert_eq!(cluster.masters(), [2, 3, 4]);
}

#[test]
fn a_killed_master_is_replaced_and_returns_as_a_replica() {
    let cluster = Cluster::start();
    let key = key_at(&cluster, 1);
    set(&cluster, &key, "v");
    assert_eq!(cluster.kill_master(1), 4);
    assert_eq!(cluster.node_of(&key), 4);
    assert_eq!(get(&cluster, 4, &key).text(), "v");
    assert!(!cluster.nodes()[1].is_running());
    cluster.nodes()[1].restart();
    cluster.wait_ready();
    assert!(is_replica(&cluster, 1));
    assert_eq!(cluster.replica_of(4), 1);
    set(&cluster, &key, "w");
}

#[test]
fn a_node_is_added_takes_slots_and_is_forgotten() {
    let mut cluster = Cluster::start();
    let new = cluster.add_node();
    assert_eq!((new, cluster.seeds().len()), (6, 7));
    let known = |node: usize| {
        let nodes = cluster.nodes()[node].command(&["CLUSTER", "NODES"]).text();
        nodes.lines().count()
    };
    assert!((0..7).all(|node| known(node) == 7));

    let (slot, from) = (Cluster::slot("tag"), cluster.node_of("tag"));
    cluster.migrate_slot(slot, new).finish();
    assert_eq!(
        cluster.nodes()[new].command(&["SET", "tag", "v"]).text(),
        "OK"
    );
    cluster.migrate_slot(slot, from).finish();
    assert_eq!(get(&cluster, from, "tag").text(), "v");

    cluster.forget(new);
    assert_eq!(cluster.seeds().len(), 6);
    let known = |node: usize| {
        let nodes = cluster.nodes()[node].command(&["CLUSTER", "NODES"]).text();
        nodes.lines().count()
    };
    assert!((0..6).all(|node| known(node) == 6));
    assert_eq!(known(new), 1, "it is alone");
}

#[test]
fn an_announced_address_reaches_clients_and_no_node() {
    let cluster = Cluster::start();
    let key = key_at(&cluster, 2);
    let port = cluster.nodes()[2].port();
    cluster.announce(2, "192.0.2.1", port);
    let moved = Reply::Error(format!("MOVED {} 192.0.2.1:{port}", Cluster::slot(&key)));
    assert_eq!(get(&cluster, 0, &key), moved);
    cluster.wait_ready();
    set(&cluster, &key, "replicated");

    cluster.announce(1, "nowhere.invalid", 1);
    let key = key_at(&cluster, 1);
    let moved = format!("MOVED {} nowhere.invalid:1", Cluster::slot(&key));
    assert_eq!(get(&cluster, 0, &key), Reply::Error(moved));
    assert_eq!(get(&cluster, 0, &key_at(&cluster, 0)), Reply::Nil);
}

#[test]
fn a_proxy_fails_clients_of_one_node_and_no_other_node() {
    let cluster = Cluster::builder().proxied().start();
    let key = key_at(&cluster, 0);
    let node = &cluster.nodes()[0];
    assert_ne!(node.url(), format!("redis://127.0.0.1:{}", node.port()));
    let moved = redirection("MOVED", &cluster, 0, &key);
    assert_eq!(get(&cluster, 1, &key), moved, "the proxy is announced");

    let connect = || {
        let url = node.url();
        Client::connect(url.strip_prefix("redis://").expect("scheme")).expect("accepted")
    };
    let mut client = connect();
    client.command(&["SET", &key, "v"]).expect("carried");
    node.proxy().cut();
    let error = client.command(&["GET", &key]).expect_err("cut");
    assert!(matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    ));

    node.proxy().black_hole();
    let mut client = connect();
    client
        .send(&["SET", &key, "lost"])
        .expect("the sender notices nothing");
    if cfg!(target_os = "linux") {
        // Even a new connection of its replica, which it needs for a failover.
        let mut killer = node.client().expect("connect");
        killer
            .command(&["CLIENT", "KILL", "TYPE", "replica"])
            .expect("answered")
            .int();
        cluster.wait_ready();
        set(&cluster, &key, "kept");
        cluster.promote(3, Failover::Graceful);
        assert_eq!(get(&cluster, 3, &key).text(), "kept");
    }
    assert!(node.proxy().swallowed_bytes() > 0);
}

#[test]
fn many_start_at_once() {
    let clusters: Vec<Cluster> = thread::scope(|scope| {
        let start = || {
            Cluster::builder()
                .node_timeout(Duration::from_secs(5))
                .start()
        };
        let starting: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        starting
            .into_iter()
            .map(|thread| thread.join().expect("started"))
            .collect()
    });
    let urls: HashSet<String> = clusters.iter().flat_map(Cluster::seeds).collect();
    assert_eq!(urls.len(), 4 * 6);
    for cluster in &clusters {
        set(cluster, "whose", &cluster.url());
    }
    for cluster in &clusters {
        let value = get(cluster, cluster.node_of("whose"), "whose");
        assert_eq!(value.text(), cluster.url());
    }
}
