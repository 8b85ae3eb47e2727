use std::fmt::Write as _;
use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

#[cfg(feature = "tls")]
use crate::Tls;
use crate::net::Port;
use crate::server::{random_id, start_all};
use crate::wait::{check, until};
use crate::{Builder, Reply, Server};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
/// The file in which a node keeps its view of the cluster.
const NODES: &str = "nodes.conf";

/// Settings for a [`Cluster`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClusterBuilder {
    server: Builder,
    node_timeout: Duration,
}

impl ClusterBuilder {
    /// Adds an argument for each node.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.server = self.server.arg(arg);
        self
    }

    /// Sets the time after which an unreachable node counts as failed. Default: two seconds.
    ///
    /// A busy machine can stop a process for longer than a short time.
    pub fn node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = timeout;
        self
    }

    /// Puts a [`Proxy`](crate::Proxy) between each node and its clients: the nodes announce its
    /// port.
    ///
    /// On Linux, connections of other nodes pass it whatever its mode; elsewhere, it carries
    /// replication too. The cluster bus never leads through it.
    pub fn proxied(mut self) -> Self {
        self.server = self.server.proxied();
        self
    }

    /// Lets clients, and replication where the program has TLS, connect with TLS.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: &Tls) -> Self {
        self.server = self.server.tls(tls);
        self
    }

    /// Starts the nodes and waits until the cluster is [ready](Cluster::wait_ready).
    ///
    /// # Panics
    /// If there is no server program, a node does not start, or the cluster is not ready within 30
    /// seconds.
    pub fn start(self) -> Cluster {
        let server = self.server.grouped();
        let builder = Self { server, ..self };
        let nodes = start_all(|| builder.reserve_all());
        let ids = nodes.iter().map(id).collect();
        let forgotten = vec![false; nodes.len()];
        let cluster = Cluster {
            builder,
            nodes,
            ids,
            forgotten,
        };
        cluster.wait_ready();
        cluster
    }

    /// Writes down the whole cluster for each node, so that none has to be told of the others.
    fn reserve_all(&self) -> Vec<Server> {
        let mut nodes: Vec<Server> = (0..2 * MASTERS).map(|_| self.reserve()).collect();
        let ids: Vec<String> = nodes.iter().map(|_| random_id()).collect();
        let shards: Vec<String> = (0..MASTERS).map(|_| random_id()).collect();
        let has_shards = nodes[0].version() >= (7, 2);
        let lines: Vec<[String; 2]> = nodes
            .iter()
            .enumerate()
            .map(|(node, server)| {
                let master = node % MASTERS;
                let [port, bus] = [server.client_port(), server.bus_port()];
                let shard = if has_shards {
                    format!(",,shard-id={}", shards[master])
                } else {
                    String::new()
                };
                let start = format!("{} 127.0.0.1:{port}@{bus}{shard}", ids[node]);
                let epoch = master + 1;
                let role = if node == master {
                    let [first, next] = [node, node + 1].map(|n| n * SLOTS / MASTERS);
                    format!("master - 0 0 {epoch} connected {first}-{}", next - 1)
                } else {
                    format!("slave {} 0 0 {epoch} connected", ids[master])
                };
                [start, role]
            })
            .collect();
        for (node, server) in nodes.iter_mut().enumerate() {
            let mut config = String::new();
            for (other, [start, role]) in lines.iter().enumerate() {
                let myself = if other == node { "myself," } else { "" };
                writeln!(config, "{start} {myself}{role}").expect("a string takes all");
            }
            writeln!(config, "vars currentEpoch {MASTERS} lastVoteEpoch 0").expect("the same");
            fs::write(server.dir().join(NODES), config).expect("a file in our own directory");
        }
        nodes
    }

    fn reserve(&self) -> Server {
        let mut server = self.server.reserve();
        let port = server.client_port().to_string();
        let (tls, announce) = if server.has_tls() {
            ("yes", "--cluster-announce-tls-port")
        } else {
            ("no", "--cluster-announce-port")
        };
        let bus = Port::claim();
        server.add_args(&["--cluster-enabled", "yes", "--cluster-config-file", NODES]);
        server.add_args(&["--cluster-port", &bus.number().to_string()]);
        let timeout = self.node_timeout.as_millis().to_string();
        server.add_args(&["--cluster-node-timeout", &timeout]);
        server.add_args(&["--cluster-announce-ip", "127.0.0.1", announce, &port]);
        // A replica of a master that is long gone may follow it, and it stays where tests put it.
        server.add_args(&["--cluster-replica-validity-factor", "0"]);
        server.add_args(&["--cluster-allow-replica-migration", "no"]);
        server.add_args(&["--repl-diskless-sync-delay", "0"]);
        if tls == "yes" {
            server.add_args(&["--tls-cluster", tls]);
        }
        server.hold_bus(bus);
        server
    }
}

/// A manual failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// Waits until the replica has all data of its master, and loses none.
    Graceful,
    /// Does not wait for the master, which may be gone; other masters vote (`FORCE`).
    Force,
    /// Asks nobody (`TAKEOVER`).
    Takeover,
}

/// A Redis Cluster of three masters and three replicas. It ends on drop.
///
/// Nodes have numbers: 0, 1 and 2 start as masters, node 3 as the replica of node 0, and so on. A
/// number stays with its node, whatever becomes of it. The crate's documentation has an example.
#[derive(Debug)]
pub struct Cluster {
    builder: ClusterBuilder,
    nodes: Vec<Server>,
    ids: Vec<String>,
    forgotten: Vec<bool>,
}

impl Cluster {
    /// Starts a cluster.
    ///
    /// # Panics
    /// As [`ClusterBuilder::start`].
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder for settings.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder {
            server: Server::builder(),
            node_timeout: Duration::from_secs(2),
        }
    }

    /// Returns the slot of a key: that of its hash tag, if it has one.
    pub fn slot(key: impl AsRef<[u8]>) -> u16 {
        let key = key.as_ref();
        let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
            let rest = &key[open + 1..];
            let close = rest.iter().position(|byte| *byte == b'}')?;
            (close > 0).then(|| &rest[..close])
        });
        crc16(tag.unwrap_or(key)) % 16_384
    }

    /// Returns the address of the first running node.
    ///
    /// # Panics
    /// If none runs.
    pub fn url(&self) -> String {
        self.nodes[self.first()].url()
    }

    /// Returns the addresses of all nodes that are not forgotten, running or not.
    pub fn seeds(&self) -> Vec<String> {
        self.members().map(|node| self.nodes[node].url()).collect()
    }

    /// Returns all nodes by their numbers.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// Returns the number of the node that serves `key`, according to the first running node.
    ///
    /// # Panics
    /// If none does.
    pub fn node_of(&self, key: impl AsRef<[u8]>) -> usize {
        self.owner(Self::slot(key))
    }

    /// Returns the numbers of the nodes that serve slots, according to the first running node.
    pub fn masters(&self) -> Vec<usize> {
        let view = self.view();
        let serving = |node: &usize| seen(&view, &self.ids[*node]).is_some_and(Seen::serves);
        self.members().filter(serving).collect()
    }

    /// Returns the number of the running replica of a master, according to the first running node.
    ///
    /// # Panics
    /// If it has none.
    pub fn replica_of(&self, master: usize) -> usize {
        let view = self.view();
        let follows = |node: &usize| {
            seen(&view, &self.ids[*node]).is_some_and(|node| node.master == self.ids[master])
        };
        self.running().find(follows).expect("a running replica")
    }

    /// Waits until all running nodes agree, serve all slots, and are connected to one another, each
    /// replica to its master.
    ///
    /// # Panics
    /// After 30 seconds, with the reason.
    pub fn wait_ready(&self) {
        until("a ready cluster", || self.ready());
    }

    /// Begins to move a slot: its node redirects clients that ask for absent keys to node `to`.
    ///
    /// The slot stays between the nodes until [`Migration::finish`].
    ///
    /// # Panics
    /// If a node refuses, such as a replica.
    pub fn migrate_slot(&self, slot: u16, to: usize) -> Migration<'_> {
        let from = self.owner(slot);
        let migration = Migration {
            cluster: self,
            slot,
            from,
            to,
        };
        migration.set(to, &["IMPORTING", &self.ids[from]]);
        migration.set(from, &["MIGRATING", &self.ids[to]]);
        migration
    }

    /// Makes a replica a master in place of its own one, and waits until the cluster is ready.
    ///
    /// # Panics
    /// If the node refuses, such as a master, or it takes longer than 30 seconds.
    pub fn promote(&self, replica: usize, how: Failover) {
        let how: &[&str] = match how {
            Failover::Graceful => &[],
            Failover::Force => &["FORCE"],
            Failover::Takeover => &["TAKEOVER"],
        };
        self.nodes[replica]
            .command(&[&["CLUSTER", "FAILOVER"], how].concat())
            .text();
        until("a promotion", || {
            self.ready()?;
            check(self.masters().contains(&replica), || {
                format!("node {replica} is a replica")
            })
        });
    }

    /// Kills a master, waits until its replica has taken over, and returns the replica's number.
    ///
    /// # Panics
    /// If the node is no master with a replica, or nobody takes over within 30 seconds.
    pub fn kill_master(&self, master: usize) -> usize {
        assert!(
            self.masters().contains(&master),
            "node {master} serves no slot"
        );
        let replica = self.replica_of(master);
        self.nodes[master].kill();
        until("a promotion", || {
            self.ready()?;
            check(self.masters().contains(&replica), || {
                format!("node {replica} is a replica")
            })
        });
        replica
    }

    /// Adds an empty master, waits until all know it, and returns its number.
    ///
    /// # Panics
    /// If it does not start, or is not known to all within 30 seconds.
    pub fn add_node(&mut self) -> usize {
        let first = self.first();
        self.nodes
            .extend(start_all(|| vec![self.builder.reserve()]));
        let new = self.nodes.len() - 1;
        self.ids.push(id(&self.nodes[new]));
        self.forgotten.push(false);
        let [port, bus] = [self.nodes[new].client_port(), self.nodes[new].bus_port()];
        let meet = [
            "CLUSTER",
            "MEET",
            "127.0.0.1",
            &port.to_string(),
            &bus.to_string(),
        ];
        self.nodes[first].command(&meet).text();
        self.wait_ready();
        new
    }

    /// Lets all other nodes forget one that serves no slot. If it runs, it becomes an empty cluster
    /// of its own.
    ///
    /// # Panics
    /// If a node refuses, such as its replica, or it serves slots.
    pub fn forget(&mut self, node: usize) {
        assert!(!self.masters().contains(&node), "node {node} serves slots");
        let left = self.nodes[node].is_running();
        for other in self.running().filter(|other| *other != node) {
            self.nodes[other]
                .command(&["CLUSTER", "FORGET", &self.ids[node]])
                .text();
        }
        if left {
            self.nodes[node].command(&["CLUSTER", "RESET"]).text();
        }
        self.forgotten[node] = true;
        self.wait_ready();
    }

    /// Lets all nodes name `host:port` to clients as the address of `node`, such as one that nobody
    /// can reach, and waits until they do.
    ///
    /// The cluster bus goes on with the true address, and so does replication unless the port is
    /// another one.
    ///
    /// # Panics
    /// If it takes longer than 30 seconds.
    pub fn announce(&self, node: usize, host: &str, port: u16) {
        let set = |node: usize, setting: &str, value: &str| {
            self.nodes[node]
                .command(&["CONFIG", "SET", setting, value])
                .text()
        };
        for other in self.running() {
            let hosts = self.nodes[other].command(&["CONFIG", "GET", "cluster-announce-hostname"]);
            if other == node {
                set(other, "cluster-announce-hostname", host);
            } else if hosts.items()[1].text().is_empty() {
                set(other, "cluster-announce-hostname", "127.0.0.1");
            }
            set(other, "cluster-preferred-endpoint-type", "hostname");
        }
        let kind = if self.nodes[node].has_tls() {
            "tls-port"
        } else {
            "port"
        };
        set(node, &format!("cluster-announce-{kind}"), &port.to_string());
        until("the announcement", || {
            for other in self.running() {
                let shards = self.nodes[other].command(&["CLUSTER", "SHARDS"]);
                let found = shards
                    .items()
                    .iter()
                    .flat_map(|shard| shard.field("nodes").items());
                let found = found.filter(|found| found.field("id").text() == self.ids[node]);
                let named: Vec<_> = found
                    .map(|found| (found.field("endpoint").text(), found.field(kind).int()))
                    .collect();
                check(named == [(host.to_owned(), port.into())], || {
                    format!("node {other} names {named:?}")
                })?;
            }
            Ok(())
        });
    }

    fn members(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| !self.forgotten[*node])
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        self.members().filter(|node| self.nodes[*node].is_running())
    }

    fn first(&self) -> usize {
        self.running().next().expect("a running node")
    }

    fn view(&self) -> Vec<Seen> {
        view(&self.nodes[self.first()]).unwrap_or_else(|error| panic!("no view: {error}"))
    }

    fn owner(&self, slot: u16) -> usize {
        let view = self.view();
        let owner = |node: &usize| {
            seen(&view, &self.ids[*node])
                .is_some_and(|node| node.slots.iter().any(|range| range.contains(&slot)))
        };
        self.members()
            .find(owner)
            .expect("a node that serves the slot")
    }

    fn ready(&self) -> Result<(), String> {
        let first = view(&self.nodes[self.first()])?;
        for node in self.running() {
            let server = &self.nodes[node];
            let info = ask(server, &["CLUSTER", "INFO"])?;
            let whole = ["cluster_state:ok", &*format!("cluster_slots_ok:{SLOTS}")];
            check(whole.iter().all(|line| info.contains(line)), || {
                format!("node {node}: {info}")
            })?;
            let view = view(server)?;
            check(view.len() == self.members().count(), || {
                format!("node {node} knows {view:?}")
            })?;
            for other in self.running() {
                let id = &self.ids[other];
                let seen = [seen(&first, id), seen(&view, id)];
                check(seen.iter().flatten().all(|seen| seen.healthy), || {
                    format!("node {other} is out of reach for node {node}")
                })?;
                check(seen[0].is_some() && seen[0] == seen[1], || {
                    format!("node {node} disagrees about node {other}: {seen:?}")
                })?;
            }
            let info = server.command(&["INFO", "replication"]).text();
            let replicas = |other: &usize| {
                seen(&first, &self.ids[*other]).is_some_and(|other| other.master == self.ids[node])
            };
            let replicas = self.running().filter(replicas).count();
            let connected = info.contains("role:master") || info.contains("master_link_status:up");
            check(
                connected && info.matches("state=online").count() == replicas,
                || format!("node {node} does not replicate: {info}"),
            )?;
        }
        Ok(())
    }
}

/// A slot between two nodes; dropped, it stays there.
#[derive(Debug)]
#[must_use = "the slot stays between two nodes until it is finished"]
pub struct Migration<'a> {
    cluster: &'a Cluster,
    slot: u16,
    from: usize,
    to: usize,
}

impl Migration<'_> {
    /// Returns the number of the node that the slot leaves.
    pub fn from(&self) -> usize {
        self.from
    }

    /// Moves at most `count` keys of the slot, and returns the number of moved ones.
    ///
    /// # Panics
    /// If a node refuses.
    pub fn move_keys(&self, count: usize) -> usize {
        let (slot, count) = (self.slot.to_string(), count.to_string());
        let from = &self.cluster.nodes[self.from];
        let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, &count]);
        let keys: Vec<Vec<u8>> = keys.items().iter().map(bytes).collect();
        if !keys.is_empty() {
            let port = self.cluster.nodes[self.to].peer_port().to_string();
            let command = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let command = command.iter().map(|part| part.as_bytes());
            let command: Vec<&[u8]> = command.chain(keys.iter().map(Vec::as_slice)).collect();
            from.command(&command).text();
        }
        keys.len()
    }

    /// Moves all remaining keys, hands the slot over, and waits until all nodes know it.
    ///
    /// # Panics
    /// If a node refuses, or it takes longer than 30 seconds.
    pub fn finish(self) {
        while self.move_keys(1000) > 0 {}
        let Self { cluster, slot, .. } = self;
        let masters = cluster.masters().into_iter();
        let others = masters.filter(|node| ![self.from, self.to].contains(node));
        for node in [self.to, self.from].into_iter().chain(others) {
            if cluster.nodes[node].is_running() {
                self.set(node, &["NODE", &cluster.ids[self.to]]);
            }
        }
        until("the slot's new node", || {
            cluster.ready()?;
            check(cluster.owner(slot) == self.to, || {
                "still the old one".into()
            })
        });
    }

    fn set(&self, node: usize, what: &[&str]) {
        let slot = self.slot.to_string();
        let command = [&["CLUSTER", "SETSLOT", &slot], what].concat();
        self.cluster.nodes[node].command(&command).text();
    }
}

/// A node in the eyes of another.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    id: String,
    healthy: bool,
    /// The id of its master, or `-`.
    master: String,
    slots: Vec<RangeInclusive<u16>>,
}

impl Seen {
    fn serves(&self) -> bool {
        !self.slots.is_empty()
    }
}

fn view(server: &Server) -> Result<Vec<Seen>, String> {
    let nodes = ask(server, &["CLUSTER", "NODES"])?;
    let line = |line: &str| {
        let [id, _, flags, master, _, _, _, link, slots @ ..] =
            &line.split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("not the line of a node: {line}")
        };
        let bad = ["fail", "fail?", "handshake", "noaddr"];
        Seen {
            id: (*id).into(),
            healthy: *link == "connected" && !flags.split(',').any(|flag| bad.contains(&flag)),
            master: (*master).into(),
            // Slots that are on the move are in brackets, too.
            slots: slots
                .iter()
                .filter(|slots| !slots.starts_with('['))
                .map(|slots| range(slots))
                .collect(),
        }
    };
    Ok(nodes.lines().map(line).collect())
}

/// Runs a command that a replica refuses while it loads the data of its master.
fn ask(server: &Server, command: &[&str]) -> Result<String, String> {
    match server.command(command) {
        Reply::Error(error) => Err(error),
        reply => Ok(reply.text()),
    }
}

fn seen<'a>(view: &'a [Seen], id: &str) -> Option<&'a Seen> {
    view.iter().find(|seen| seen.id == id)
}

fn range(slots: &str) -> RangeInclusive<u16> {
    let (start, end) = slots.split_once('-').unwrap_or((slots, slots));
    let [start, end] = [start, end].map(|slot| slot.parse().expect("the number of a slot"));
    start..=end
}

fn bytes(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Bulk(bytes) => bytes.clone(),
        other => panic!("expected a key, got {other:?}"),
    }
}

fn id(server: &Server) -> String {
    server.command(&["CLUSTER", "MYID"]).text()
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}
