//! Real Redis servers on addresses and in folders of their own, paused, killed and started again by their process ids.

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use super::{Certificate, Place, wait_until};

pub(crate) struct Redis {
    child: Child,
    place: Place,
    arguments: Vec<String>,
    password: Option<&'static str>,
}

impl Redis {
    /// Durable: what it has answered is on the disk.
    pub(crate) fn start() -> Redis {
        Redis::start_with(Place::new(), &[], None)
    }

    /// What the other has, and a little behind it.
    pub(crate) fn replica_of(master: &Redis) -> Redis {
        let host = master.host().to_string();
        let replica = Redis::start_with(Place::new(), &["--replicaof", &host, "6379"], None);
        wait_until("the replica has everything", || replica.info("replication").contains("link_status:up"));
        replica
    }

    /// With TLS at a port of its own, for clients with this certificate, and with a password.
    pub(crate) fn with_tls(password: &'static str) -> (Redis, Certificate) {
        let place = Place::new();
        let certificate = Certificate::for_names(&[&place.http().ip().to_string()]);
        let (chain, key) = certificate.write(&place.folder, "redis");
        let (chain, key) = (chain.display().to_string(), key.display().to_string());
        let files = ["--tls-cert-file", &chain, "--tls-key-file", &key, "--tls-ca-cert-file", &chain];
        let arguments = [&["--tls-port", "6380", "--requirepass", password], files.as_slice()].concat();
        (Redis::start_with(place, &arguments, Some(password)), certificate)
    }

    fn start_with(place: Place, arguments: &[&str], password: Option<&'static str>) -> Redis {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        let redis = Redis { child: spawn(&place, &arguments), place, arguments, password };
        redis.wait_ready();
        redis
    }

    pub(crate) fn host(&self) -> IpAddr {
        self.place.http().ip()
    }

    pub(crate) fn url(&self) -> String {
        let password = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{password}{}:6379", self.host())
    }

    /// A connection for the test itself.
    pub(crate) fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).expect("a URL").get_connection().expect("a server")
    }

    pub(crate) fn info(&self, section: &str) -> String {
        redis::cmd("INFO").arg(section).query(&mut self.connection()).expect("what it is")
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
        self.child = spawn(&self.place, &self.arguments);
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

fn spawn(place: &Place, arguments: &[String]) -> Child {
    let address = place.http().ip().to_string();
    let folder = place.folder.path().display().to_string();
    Command::new("redis-server")
        .args(["--port", "6379", "--bind", &address, "--dir", &folder, "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--replica-announce-ip", &address])
        .args(["--repl-diskless-sync-delay", "0"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

/// One that watches a master by the name `main`, and replaces it a second after it is gone.
pub(crate) struct Sentinel {
    child: Child,
    place: Place,
}

impl Sentinel {
    pub(crate) fn watching(master: &Redis) -> Sentinel {
        let place = Place::new();
        let text = format!(
            "port 26379\nbind {}\ndir {}\nsentinel monitor main {} 6379 1\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n",
            place.http().ip(),
            place.folder.path().display(),
            master.host()
        );
        let file = place.folder.write("sentinel.conf", &text);
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null());
        let sentinel = Sentinel { child: command.spawn().expect("redis-server is installed"), place };
        wait_until("sentinel knows a replica", || {
            let client = redis::Client::open(sentinel.url()).expect("a URL");
            let Ok(mut connection) = client.get_connection() else { return false };
            let known = redis::cmd("SENTINEL").arg("REPLICAS").arg("main").query(&mut connection);
            known.is_ok_and(|replicas: Vec<redis::Value>| !replicas.is_empty())
        });
        sentinel
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}:26379", self.place.http().ip())
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
