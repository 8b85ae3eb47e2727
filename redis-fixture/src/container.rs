use std::fmt;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use testcontainers::core::IntoContainerPort;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, ImageExt};
use testcontainers_modules::redis::Redis;

use crate::IMAGE;
use crate::process::Watchdog;

/// A server in a container, published on a local port.
pub(crate) struct Running {
    container: Option<Box<Container<Redis>>>,
    _watchdog: Watchdog,
}

impl Running {
    pub(crate) fn start(port: u16, args: &[String]) -> Self {
        let image = std::env::var("CACHIFY_REDIS_IMAGE").unwrap_or_else(|_| IMAGE.into());
        let (name, tag) = image
            .rsplit_once(':')
            .expect("CACHIFY_REDIS_IMAGE names an image with its tag");
        // Without the last two it answers only its own host.
        let command = [
            "redis-server",
            "--save",
            "",
            "--appendonly",
            "no",
            "--protected-mode",
            "no",
        ];
        let command = command.into_iter().map(String::from);
        let request = Redis::default()
            .with_name(name)
            .with_tag(tag)
            .with_mapped_port(port, 6379.tcp())
            .with_cmd(command.chain(args.iter().cloned()));
        let container = apart(|| request.start())
            .unwrap_or_else(|error| panic!("no container of {image}: {error}"));
        let watchdog = Watchdog::new(&format!("docker rm -f {}", container.id()));
        Self {
            container: Some(Box::new(container)),
            _watchdog: watchdog,
        }
    }

    pub(crate) fn pause(&self) {
        apart(|| at_once(self.container().pause())).expect("the container can be paused");
    }

    pub(crate) fn resume(&self) {
        apart(|| at_once(self.container().unpause())).expect("the container can go on");
    }

    pub(crate) fn kill(&self) {
        apart(|| at_once(self.container().unpause())).ok(); // a paused one can't be stopped
        apart(|| self.container().stop_with_timeout(Some(0))).expect("the container can be killed");
    }

    pub(crate) fn restart(&self) {
        self.kill();
        apart(|| self.container().start()).expect("the container can be started again");
    }

    fn container(&self) -> &Container<Redis> {
        self.container.as_ref().expect("there until dropped")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        apart(|| drop(self.container.take()));
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Running")
            .field(&self.container().id())
            .finish()
    }
}

/// Runs on a thread of its own: testcontainers blocks on a runtime, which panics on a thread of
/// another runtime.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).expect("testcontainers does not panic")
}

/// These two methods of the blocking container are async by mistake: they block and never pend.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a future that blocks"),
    }
}
