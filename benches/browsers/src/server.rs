//! The servers: each started for one round, killed when it goes; what they use is read from the system.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub(crate) struct Server {
    child: Child,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
}

/// Away from what else uses 127.0.0.1 on the machine.
const HOST: &str = "127.0.0.3";
const START: Duration = Duration::from_secs(20);

impl Server {
    /// The proxy with this configuration, in which `$LISTEN` and `$CONTROL` are addresses.
    pub(crate) fn perihelion(binary: &Path, configuration: &str) -> Result<Server> {
        let (address, control) = (free_address()?, free_address()?);
        let text =
            configuration.replace("$LISTEN", &address.to_string()).replace("$CONTROL", &control.to_string());
        let file = std::env::temp_dir().join(format!("browsers-{}.yaml", std::process::id()));
        std::fs::write(&file, text)?;
        let server = Server::start(Command::new(binary).arg("run").arg("-c").arg(&file), address);
        // It has been read by now, or was no good.
        let _ = std::fs::remove_file(&file);
        server
    }

    /// One of `peers/`.
    pub(crate) fn node(script: &str) -> Result<Server> {
        let address = free_address()?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let mut command = Command::new("node");
        command.arg(folder.join(script)).arg(HOST).arg(address.port().to_string()).current_dir(folder);
        Server::start(&mut command, address)
    }

    fn start(command: &mut Command, address: SocketAddr) -> Result<Server> {
        let child = command.stdout(Stdio::null()).spawn().with_context(|| format!("{command:?}"))?;
        let mut server = Server { child, address };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(server.child.try_wait()?.is_none(), "{command:?} has ended");
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

    /// Bytes of memory that are its own, shared ones by their share.
    pub(crate) fn memory(&self) -> Result<u64> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((HOST, 0))?.local_addr()?)
}
