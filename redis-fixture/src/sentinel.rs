use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

#[cfg(feature = "tls")]
use crate::Tls;
use crate::server::{SENTINEL, random_id, start_all};
use crate::wait::{check, until};
use crate::{Builder, Client, Reply, Server};

const NAME: &str = "main";
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;

/// Settings for [`Sentinels`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SentinelsBuilder {
    server: Builder,
    down_after: Duration,
}

impl SentinelsBuilder {
    /// Sets the time after which an unreachable server counts as down. Default: two seconds.
    ///
    /// A busy machine can stop a process for longer than a short time.
    pub fn down_after(mut self, time: Duration) -> Self {
        self.down_after = time;
        self
    }

    /// Puts a [`Proxy`](crate::Proxy) between each server, Sentinels included, and its clients.
    ///
    /// On Linux, connections of the others pass it whatever its mode; elsewhere, it carries them
    /// too.
    pub fn proxied(mut self) -> Self {
        self.server = self.server.proxied();
        self
    }

    /// Lets clients, and the servers themselves where the program has TLS, connect with TLS.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: &Tls) -> Self {
        self.server = self.server.tls(tls);
        self
    }

    /// Starts the servers and waits until they are [ready](Sentinels::wait_ready).
    ///
    /// # Panics
    /// If there is no server program, a server does not start, or they are not ready within 30
    /// seconds.
    pub fn start(self) -> Sentinels {
        let server = self.server.clone().grouped();
        // One after the other: none looks for a server that does not listen yet.
        let mut nodes = start_all(|| vec![node(&server, None)]);
        let master = nodes[0].client_port();
        nodes.extend(start_all(|| {
            (0..REPLICAS).map(|_| node(&server, Some(master))).collect()
        }));
        let sentinels = start_all(|| self.reserve_sentinels(&nodes));
        for sentinel in &sentinels {
            // Shorter waits than the default ones of seconds, and patience with a machine that is
            // too busy to run a process for a while. Older servers do not know the command.
            sentinel.command(&[
                "SENTINEL",
                "DEBUG",
                "INFO-PERIOD",
                "500",
                "PUBLISH-PERIOD",
                "200",
                "TILT-TRIGGER",
                "20000",
            ]);
        }
        let all = Sentinels { sentinels, nodes };
        all.wait_ready();
        all
    }

    /// Writes down all servers for each Sentinel, so that none has to find the others.
    fn reserve_sentinels(&self, nodes: &[Server]) -> Vec<Server> {
        let server = self.server.clone().grouped().sentinel();
        let mut sentinels: Vec<Server> = (0..SENTINELS).map(|_| server.reserve()).collect();
        let known: Vec<_> = sentinels
            .iter()
            .map(|sentinel| (random_id(), sentinel.client_port()))
            .collect();
        let down_after = self.down_after.as_millis();
        for (sentinel, (id, port)) in sentinels.iter_mut().zip(&known) {
            let mut config = format!(
                "sentinel myid {id}\n\
                 sentinel announce-ip 127.0.0.1\n\
                 sentinel announce-port {port}\n\
                 sentinel monitor {NAME} 127.0.0.1 {} {}\n\
                 sentinel down-after-milliseconds {NAME} {down_after}\n\
                 sentinel failover-timeout {NAME} 5000\n\
                 sentinel parallel-syncs {NAME} {REPLICAS}\n",
                nodes[0].client_port(),
                SENTINELS / 2 + 1,
            );
            for replica in &nodes[1..] {
                let port = replica.client_port();
                writeln!(config, "sentinel known-replica {NAME} 127.0.0.1 {port}")
                    .expect("a string takes all");
            }
            for (id, port) in known.iter().filter(|other| other.0 != *id) {
                writeln!(
                    config,
                    "sentinel known-sentinel {NAME} 127.0.0.1 {port} {id}"
                )
                .expect("the same");
            }
            fs::write(sentinel.dir().join(SENTINEL), config).expect("a file in our own directory");
        }
        sentinels
    }
}

fn node(builder: &Builder, master: Option<u16>) -> Server {
    let mut server = builder.reserve();
    let port = server.client_port().to_string();
    server.add_args(&[
        "--replica-announce-ip",
        "127.0.0.1",
        "--replica-announce-port",
        &port,
    ]);
    server.add_args(&["--repl-diskless-sync-delay", "0"]);
    if let Some(master) = master {
        server.add_args(&["--replicaof", "127.0.0.1", &master.to_string()]);
    }
    server
}

/// A master, two replicas, and three Sentinels that watch them. They end on drop.
///
/// The servers have numbers; server 0 starts as the master. A number stays with its server. The
/// crate's documentation has an example.
#[derive(Debug)]
pub struct Sentinels {
    // Dropped first: none should start a failover because of the end of the master.
    sentinels: Vec<Server>,
    nodes: Vec<Server>,
}

impl Sentinels {
    /// Starts the servers.
    ///
    /// # Panics
    /// As [`SentinelsBuilder::start`].
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder for settings.
    pub fn builder() -> SentinelsBuilder {
        SentinelsBuilder {
            server: Server::builder(),
            down_after: Duration::from_secs(2),
        }
    }

    /// Returns the addresses of the Sentinels, running or not.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::url).collect()
    }

    /// Returns the name under which they know the master.
    pub fn master_name(&self) -> &'static str {
        NAME
    }

    /// Returns the Sentinels.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// Returns the servers that they watch, by their numbers.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// Returns the number of the master, according to the first running Sentinel.
    ///
    /// # Panics
    /// If no Sentinel runs.
    pub fn master(&self) -> usize {
        self.master_of(self.first())
    }

    /// Subscribes to an event such as `+switch-master` at the first running Sentinel.
    ///
    /// Messages come by [`Client::read`], as arrays of `message`, the event, and its text.
    ///
    /// # Panics
    /// If no Sentinel runs.
    pub fn subscribe(&self, event: &str) -> Client {
        let mut client = self.first().client().expect("a running Sentinel accepts");
        client.command(&["SUBSCRIBE", event]).expect("an answer");
        client
    }

    /// Waits until all running Sentinels name the same running master and see all other running
    /// servers follow it, and one another.
    ///
    /// # Panics
    /// After 30 seconds, with the reason.
    pub fn wait_ready(&self) {
        until("Sentinels that agree", || self.ready());
    }

    /// Lets the Sentinels make a replica the master, waits until all follow it, and returns its
    /// number.
    ///
    /// # Panics
    /// If they refuse, or it takes longer than 30 seconds.
    pub fn failover(&self) -> usize {
        let before = self.master();
        let sentinel = self.first();
        // It looks for a replica that it has heard of recently, and gives up at once.
        until("a replica to promote", || {
            match sentinel.command(&["SENTINEL", "FAILOVER", NAME]) {
                Reply::Error(error) if error.starts_with("NOGOODSLAVE") => Err(error),
                reply => check(reply.text() == "OK", || format!("{reply:?}")),
            }
        });
        self.wait_for_other_than(before)
    }

    /// Kills the master, waits until all follow another one, and returns its number.
    ///
    /// Restarted, the killed server is an empty master until the Sentinels turn it into a replica.
    ///
    /// # Panics
    /// If it takes longer than 30 seconds.
    pub fn kill_master(&self) -> usize {
        let before = self.master();
        self.nodes[before].kill();
        self.wait_for_other_than(before)
    }

    fn wait_for_other_than(&self, before: usize) -> usize {
        until("another master", || {
            check(self.master() != before, || {
                format!("server {before} still is it")
            })?;
            self.ready()
        });
        self.master()
    }

    fn first(&self) -> &Server {
        let mut running = self.sentinels.iter().filter(|one| one.is_running());
        running.next().expect("a running Sentinel")
    }

    fn master_of(&self, sentinel: &Server) -> usize {
        let address = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let port = address.items()[1].text();
        let is_it = |node: &Server| node.client_port().to_string() == port;
        self.nodes
            .iter()
            .position(is_it)
            .expect("the port of a server")
    }

    fn ready(&self) -> Result<(), String> {
        let master = self.master();
        check(self.nodes[master].is_running(), || {
            format!("master {master} does not run")
        })?;
        let running = |servers: &[Server]| servers.iter().filter(|one| one.is_running()).count();
        let sentinels = self
            .sentinels
            .iter()
            .filter(|sentinel| sentinel.is_running());
        for sentinel in sentinels {
            check(self.master_of(sentinel) == master, || {
                format!("{}: another", sentinel.url())
            })?;
            for (what, count) in [
                ("REPLICAS", running(&self.nodes) - 1),
                ("SENTINELS", running(&self.sentinels) - 1),
            ] {
                let seen = sentinel.command(&["SENTINEL", what, NAME]);
                let flags = seen.items().iter().map(|one| one.field("flags").text());
                let flags: Vec<String> = flags.collect();
                let healthy = flags.iter().filter(|flags| is_healthy(flags)).count();
                check(healthy == count, || {
                    format!("{what} at {}: {flags:?}", sentinel.url())
                })?;
            }
            let seen = sentinel.command(&["SENTINEL", "MASTER", NAME]);
            let flags = seen.field("flags").text();
            check(is_healthy(&flags), || {
                format!("master at {}: {flags}", sentinel.url())
            })?;
        }
        let port = self.nodes[master].client_port();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            let role = node.command(&["ROLE"]);
            let role = role.items();
            let as_expected = if node.port() == self.nodes[master].port() {
                role[0].text() == "master" && role[2].items().len() == running(&self.nodes) - 1
            } else {
                role[0].text() == "slave"
                    && role[2].int() == i64::from(port)
                    && role[3].text() == "connected"
            };
            check(as_expected, || format!("{}: {role:?}", node.url()))?;
        }
        Ok(())
    }
}

fn is_healthy(flags: &str) -> bool {
    let bad = ["s_down", "o_down", "disconnected", "failover_in_progress"];
    !flags.split(',').any(|flag| bad.contains(&flag))
}
