//! A real redis-server on an address and in a folder of its own, paused, killed and started again by its process id.

use std::process::{Child, Command, Stdio};

use super::{Place, wait_until};

pub(crate) struct Redis {
    child: Child,
    place: Place,
}

impl Redis {
    /// Durable: what it has answered is on the disk.
    pub(crate) fn start() -> Redis {
        let place = Place::new();
        let redis = Redis { child: spawn(&place), place };
        redis.wait_ready();
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}:6379", self.place.http().ip())
    }

    /// A connection for the test itself.
    pub(crate) fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).expect("a URL").get_connection().expect("a server")
    }

    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().expect("a shell").success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.place);
        self.wait_ready();
    }

    fn wait_ready(&self) {
        let client = redis::Client::open(self.url()).expect("a URL");
        wait_until("redis answers", || {
            let Ok(mut connection) = client.get_connection() else { return false };
            redis::cmd("PING").query::<String>(&mut connection).is_ok()
        });
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(place: &Place) -> Child {
    let address = place.http().ip().to_string();
    let folder = place.folder.path().display().to_string();
    Command::new("redis-server")
        .args(["--port", "6379", "--bind", &address, "--dir", &folder, "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
