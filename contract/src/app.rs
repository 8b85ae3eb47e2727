//! A sample app as a child process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The time limit for everything that must not hang.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The settings for starting an app.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    cache: String,
    prefix: String,
    arguments: Vec<String>,
}

impl Launch {
    /// Makes a launch over memory.
    pub fn memory(program: &str) -> Self {
        Self::new(program, "memory://".to_owned())
    }

    /// Makes a launch over the Redis that all tests share.
    pub fn redis(program: &str) -> Self {
        Self::new(program, redis_fixture::shared())
    }

    fn new(program: &str, cache: String) -> Self {
        Self {
            program: program.into(),
            cache,
            prefix: format!("contract-{:016x}", fastrand::u64(..)),
            arguments: Vec::new(),
        }
    }

    /// Replaces the URL of the cache.
    #[must_use]
    pub fn cache(mut self, url: &str) -> Self {
        url.clone_into(&mut self.cache);
        self
    }

    /// Adds a flag.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        self.arguments.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// Starts the app, and waits until it listens.
    ///
    /// # Panics
    ///
    /// Panics if the app does not listen in time.
    pub async fn start(&self) -> App {
        let mut command = Command::new(&self.program);
        command.args(["--listen", "127.0.0.1:0", "--prefix", &self.prefix]);
        let mut process = command
            .args(&self.arguments)
            .env("CACHIFY_URL", &self.cache)
            .env_remove("DATABASE_URL")
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the app starts");
        let stdout = process.stdout.take().expect("it was piped");
        let mut lines = BufReader::new(stdout).lines();
        let url = timeout(TIMEOUT, async {
            loop {
                let line = lines.next_line().await.unwrap();
                let line = line.expect("an address before it ends");
                if let Some(url) = line.strip_prefix("listening on ") {
                    break url.to_owned();
                }
            }
        });
        App {
            url: url.await.expect("in time"),
            process,
            client: Client::builder()
                .timeout(TIMEOUT)
                .redirect(Policy::none())
                .build()
                .unwrap(),
        }
    }
}

/// A running app. Dropping it kills the process.
#[derive(Debug)]
pub struct App {
    process: Child,
    url: String,
    client: Client,
}

/// A status and a JSON body.
pub(crate) type Answer = (StatusCode, Value);

impl App {
    /// Builds a request.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Returns the address that the app listens on.
    ///
    /// # Panics
    ///
    /// Panics if the app announced something other than an address.
    fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("an address")
    }

    /// Sends bytes, and reads until the connection ends.
    pub async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address())
            .await
            .expect("it listens");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let read = timeout(TIMEOUT, read).await.expect("in time");
        read.expect("text");
        answer
    }

    /// Creates a user, and returns its id.
    pub async fn create(&self, name: &str) -> i64 {
        let body = json!({"name": name, "email": "ann@example.com"});
        let request = self.request("POST", "/users/").json(&body);
        let (status, user) = answer(request).await;
        assert_eq!(status, StatusCode::CREATED, "{user}");
        assert_eq!(user["name"], name);
        user["id"].as_i64().expect("an id")
    }

    /// Reads a user.
    pub async fn read(&self, id: i64) -> Answer {
        answer(self.request("GET", &format!("/users/{id}"))).await
    }

    /// Changes a user's name.
    pub async fn update(&self, id: i64, name: &str) -> Answer {
        answer(self.updating(id, name)).await
    }

    /// Builds the request that changes a user's name.
    pub fn updating(&self, id: i64, name: &str) -> RequestBuilder {
        let body = json!({"name": name, "email": "ann@example.com"});
        self.request("PUT", &format!("/users/{id}")).json(&body)
    }

    /// Returns a counter of `/metrics`, summed over its labels, or 0 if it does not exist yet.
    pub async fn counter(&self, name: &str) -> u64 {
        let metrics = self.request("GET", "/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let samples = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{'])
                .then(|| rest.rsplit(' ').next())?
        });
        samples.map(|value| value.parse::<u64>().unwrap()).sum()
    }

    /// Waits until a counter is at least this high.
    ///
    /// # Panics
    ///
    /// Panics if the counter does not reach it in time.
    pub async fn until(&self, name: &str, at_least: u64) {
        let reached = async {
            while self.counter(name).await < at_least {
                tokio::task::yield_now().await;
            }
        };
        timeout(TIMEOUT, reached)
            .await
            .unwrap_or_else(|_| panic!("{name} does not reach {at_least}"));
    }

    /// Sends an update without the end of its body, once the app asks for the body.
    pub async fn half_an_update(&self, id: i64) -> TcpStream {
        let address = self.address();
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let half = format!(
            "PUT /users/{id} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: 40\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(half.as_bytes()).await.expect("it reads");
        // The app asks for the body when its handler reads it.
        let mut said = [0; 25];
        let read = timeout(TIMEOUT, stream.read_exact(&mut said)).await;
        read.expect("in time").expect("an answer");
        assert!(said.starts_with(b"HTTP/1.1 100"), "{said:?}");
        stream.write_all(b"{\"name\"").await.expect("it reads");
        stream
    }

    /// Asks the process to end, like an operator or a container runtime.
    pub async fn signal(&mut self) {
        let id = self.process.id().expect("it runs").to_string();
        let kill = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(kill.unwrap().success());
    }

    /// Waits until the app accepts no new connections, so it has noticed the request to end.
    ///
    /// # Panics
    ///
    /// Panics if the app keeps accepting connections.
    pub async fn refuses_connections(&self) {
        let refused = async {
            while TcpStream::connect(self.address()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(TIMEOUT, refused)
            .await
            .expect("it was asked to end");
    }

    /// Asks the process to end, and waits until it has ended.
    ///
    /// # Panics
    ///
    /// Panics if it ends with an error, or not in time.
    pub async fn end(mut self) {
        self.signal().await;
        let status = timeout(TIMEOUT, self.process.wait()).await;
        let status = status.expect("it ends in time").unwrap();
        assert!(status.success(), "{status}");
    }
}

/// Sends a request, and returns the JSON answer.
///
/// # Panics
///
/// Panics if there is no answer, or it is not JSON.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let status = response.status();
    let text = response.text().await.expect("a body");
    let json = serde_json::from_str(&text);
    (
        status,
        json.unwrap_or_else(|_| panic!("{status} is not JSON: {text}")),
    )
}

/// Asserts that an answer is a problem document with a status, and returns its detail.
///
/// # Panics
///
/// Panics if it is not.
pub(crate) async fn problem(response: Response, status: u16) -> String {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem: Value = response.json().await.expect("JSON");
    assert_eq!(problem["type"], "about:blank", "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].is_string(), "{problem}");
    problem["detail"].as_str().unwrap_or_default().to_owned()
}
