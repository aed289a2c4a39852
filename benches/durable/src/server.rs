//! The servers: each started in a folder of its own, killed when it goes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub(crate) struct Server {
    child: Child,
    /// Where publishers connect.
    pub(crate) address: SocketAddr,
    /// Where clients connect, if there may be any.
    pub(crate) http: SocketAddr,
}

/// Where no application listens.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const START: Duration = Duration::from_secs(10);

impl Server {
    pub(crate) fn perihelion_on_disk(binary: &Path, folder: &Path) -> Result<Server> {
        Server::perihelion_before(binary, folder, NOBODY)
    }

    /// On the disk, and with an application.
    pub(crate) fn perihelion_before(binary: &Path, folder: &Path, application: SocketAddr) -> Result<Server> {
        let store = format!("{{ path: {} }}", folder.join("store").display());
        Server::perihelion(binary, folder, &store, application)
    }

    pub(crate) fn perihelion_in_memory(binary: &Path, folder: &Path) -> Result<Server> {
        Server::perihelion(binary, folder, "memory", NOBODY)
    }

    fn perihelion(binary: &Path, folder: &Path, store: &str, application: SocketAddr) -> Result<Server> {
        let (http, address) = (free_address()?, free_address()?);
        let file = folder.join("perihelion.yaml");
        let text = format!(
            "listen: {http}\nupstream: http://{application}\ncontrol: {address}\nstore: {store}\n\
             log: {{ access: off, level: error }}\n"
        );
        std::fs::write(&file, text)?;
        Server::start(Command::new(binary).arg("run").arg("-c").arg(file), address, http)
    }

    pub(crate) fn redis(_: &Path, folder: &Path) -> Result<Server> {
        let address = free_address()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--dir"]).arg(folder);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        Server::start(&mut command, address, address)
    }

    fn start(command: &mut Command, address: SocketAddr, http: SocketAddr) -> Result<Server> {
        let child = command.stdout(Stdio::null()).spawn().with_context(|| format!("{command:?}"))?;
        let server = Server { child, address, http };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(began.elapsed() < START, "it doesn't listen on {address}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Processor time of all its threads so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let times = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += times.split(' ').next().context("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
