//! Processes and files of one run: everything started here is ended here, by its own id.
//!
//! A server gets a process group of its own and, where `setpriv` exists, a signal when this program dies, so that
//! nothing outlives a run that was killed. The signal follows the thread that started the process: servers are
//! started from the main thread only.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, setrlimit};

/// Address that servers of a run listen on: away from what else uses 127.0.0.1 on the machine.
const HOST: &str = "127.0.0.3";
/// How long a server may take to accept, and to end after TERM.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that runs until this value is dropped.
pub(crate) struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts `program` with its output in `log`.
    pub(crate) fn start(name: &str, program: &Path, arguments: &[&str], log: PathBuf) -> Result<Self> {
        let mut command = match find_program("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "TERM", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        use std::os::unix::process::CommandExt;
        let output = File::create(&log).with_context(|| format!("can't write {}", log.display()))?;
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start {name} ({})", program.display()))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// The id of the server's first process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says so; an early end or a silent server is an error that quotes its output.
    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}): {}", self.name, self.output());
            }
            if ready() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} did not become ready in {PATIENCE:?}: {}", self.name, self.output());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn output(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(8).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // The group may be gone already, which is what the signal is for.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE / 2;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.signal(Signal::KILL);
        // Reaps it; there is nobody to tell about a failure.
        let _ = self.child.wait();
    }
}

/// A folder for the configurations and logs of a run, removed with the value.
pub(crate) struct WorkFolder(PathBuf);

impl WorkFolder {
    /// Makes the folder; others may read it, since nginx's workers give their rights up.
    pub(crate) fn create() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("side_by_side-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("can't make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address with a port that is free now. Somebody may take it before the server does: starts are retried.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let probe = TcpListener::bind((HOST, 0)).with_context(|| format!("can't listen on {HOST}"))?;
    Ok(probe.local_addr()?)
}

/// Finds a program in `PATH` or among the system's servers, which an ordinary user's `PATH` leaves out.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Raises the limit of open files as far as it goes, for this process and the servers; returns the limit.
pub(crate) fn raise_file_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1_000_000);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
        .context("can't raise the limit of open files")?;
    Ok(most)
}
