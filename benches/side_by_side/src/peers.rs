//! The contestants: what each is, what it needs on this machine, how it is started.
//!
//! One worker or thread for each, access logs off, the same application behind all proxies. Configurations are the
//! templates in `peers/`, with addresses and folders put in at the start.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{Running, WorkFolder, find_program, free_address};
use crate::publish::Dialect;
use crate::tls::TlsClient;

/// Messages of history that publish/subscribe servers keep: more than a burst has.
const HISTORY: &str = "1000";
/// Starts before giving up: a port that was free a moment ago may be taken.
const STARTS_MAX: u32 = 3;
/// The file that the application serves as a large answer.
pub(crate) const LARGE_BYTES: usize = 100 * 1024;
/// A file of which a server sends many pieces.
pub(crate) const HUGE_BYTES: usize = 10 * 1024 * 1024;
/// Length of the application's small answer, as `backend.conf` words it.
pub(crate) const SMALL_BYTES: usize = 102;

/// Somebody to be measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Contestant {
    /// Name for flags, tables and the file of results.
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    /// Subscribers come under TLS 1.3.
    pub(crate) tls: bool,
    /// What the load of plain requests is divided by, so that a slow one takes no longer than the others.
    pub(crate) load_divisor: u64,
}

/// The program that a contestant is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Server {
    Perihelion,
    /// With a store on the disk.
    PerihelionStore,
    /// With a route to files.
    PerihelionFiles,
    Nginx,
    Haproxy,
    Perlbal,
    Nchan,
    Bare,
    /// In front of few workers.
    PerihelionQueue,
    HaproxyQueue,
    /// The workers themselves.
    Workers,
    /// In front of an application that speaks GRIP.
    PerihelionGrip,
    Pushpin,
}

const fn contestant(name: &'static str, server: Server) -> Contestant {
    Contestant { name, server, tls: false, load_divisor: 1 }
}

/// Who proxies requests, in the order of a round.
pub(crate) const PROXIES: [Contestant; 4] = [
    contestant("perihelion", Server::Perihelion),
    contestant("nginx", Server::Nginx),
    contestant("haproxy", Server::Haproxy),
    Contestant { load_divisor: 10, ..contestant("perlbal", Server::Perlbal) },
];

/// Who serves files, in the order of a round.
pub(crate) const FILE_SERVERS: [Contestant; 2] =
    [contestant("perihelion", Server::PerihelionFiles), contestant("nginx", Server::Nginx)];

/// Who lets many clients wait for few workers, in the order of a round.
pub(crate) const QUEUES: [Contestant; 3] = [
    contestant("perihelion", Server::PerihelionQueue),
    contestant("haproxy", Server::HaproxyQueue),
    contestant("direct", Server::Workers),
];

/// Who holds connections, in the order of a round.
pub(crate) const HOLDERS: [Contestant; 6] = [
    contestant("perihelion", Server::Perihelion),
    contestant("bare", Server::Bare),
    contestant("nchan", Server::Nchan),
    Contestant { tls: true, ..contestant("perihelion-tls", Server::Perihelion) },
    Contestant { tls: true, ..contestant("nchan-tls", Server::Nchan) },
    contestant(WITH_STORE, Server::PerihelionStore),
];

/// Who holds what an application that speaks GRIP hands over, and the floor, in the order of a round.
pub(crate) const GRIP_PROXIES: [Contestant; 3] = [
    contestant("perihelion-grip", Server::PerihelionGrip),
    contestant("bare", Server::Bare),
    contestant("pushpin", Server::Pushpin),
];

/// Measured where it is named: it answers another question than the others.
pub(crate) const WITH_STORE: &str = "perihelion-store";

/// What all contestants of a run share.
pub(crate) struct Arena {
    /// Files of the run.
    pub(crate) folder: WorkFolder,
    /// Sessions for subscribers under TLS.
    pub(crate) tls: TlsClient,
    perihelion: Option<PathBuf>,
}

/// A contestant that runs.
pub(crate) struct Started {
    running: Running,
    /// Where it takes requests.
    pub(crate) address: SocketAddr,
    /// Where and how it takes messages.
    pub(crate) publish: (Dialect, SocketAddr),
}

impl Started {
    /// The id of its first process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }
}

/// Addresses that a contestant may need, all free a moment ago.
struct Addresses {
    listen: SocketAddr,
    tls: SocketAddr,
    control: SocketAddr,
}

impl Arena {
    /// Makes the run's folder with certificate and files.
    pub(crate) fn create(perihelion: Option<PathBuf>) -> Result<Self> {
        let folder = WorkFolder::create()?;
        let tls = TlsClient::create(folder.path())?;
        let big = folder.path().join("www/big");
        fs::create_dir_all(&big)?;
        fs::write(big.join("100k"), vec![b'x'; LARGE_BYTES])?;
        fs::write(big.join("10m"), vec![b'x'; HUGE_BYTES])?;
        Ok(Self { folder, tls, perihelion })
    }

    /// Why the contestant can't be measured here, if so.
    pub(crate) fn missing(&self, contestant: Contestant) -> Option<String> {
        let program = match contestant.server {
            Server::Perihelion
            | Server::PerihelionStore
            | Server::PerihelionFiles
            | Server::PerihelionQueue
            | Server::PerihelionGrip => match &self.perihelion {
                Some(path) if path.is_file() => return None,
                Some(path) => return Some(format!("{} is not a file", path.display())),
                None => return Some("give its binary with --perihelion PATH".to_owned()),
            },
            Server::Bare | Server::Workers => return None,
            Server::Nchan if nchan_module().is_none() => {
                return Some("nginx's nchan module is not installed (benches/install-peers)".to_owned());
            }
            Server::Nginx | Server::Nchan => "nginx",
            Server::Haproxy | Server::HaproxyQueue => "haproxy",
            Server::Perlbal => "perlbal",
            Server::Pushpin => "pushpin",
        };
        find_program(program).is_none().then(|| format!("{program} is not installed (benches/install-peers)"))
    }

    /// Starts the application behind the proxies.
    pub(crate) fn start_application(&self) -> Result<Started> {
        retried(|| {
            let address = free_address()?;
            let file = self.configure("backend.conf", &[("BACKEND", address.to_string())])?;
            let mut running = self.start_nginx("application", &file)?;
            running.wait_until(|| answers_ok(address, "/"))?;
            Ok(Started { running, address, publish: (Dialect::Bare, address) })
        })
        .context("the application behind the proxies (nginx) does not start")
    }

    /// Starts an application of few workers.
    pub(crate) fn start_workers(&self) -> Result<Started> {
        retried(|| {
            let address = free_address()?;
            let arguments = ["workers", &address.to_string()];
            let mut running = self.run("workers", &std::env::current_exe()?, &arguments)?;
            running.wait_until(|| answers_ok(address, "/"))?;
            Ok(Started { running, address, publish: (Dialect::Bare, address) })
        })
    }

    /// Starts a contestant in front of the application; it answers requests when this returns.
    pub(crate) fn start(&self, contestant: Contestant, application: SocketAddr) -> Result<Started> {
        retried(|| {
            let addresses =
                Addresses { listen: free_address()?, tls: free_address()?, control: free_address()? };
            let mut running = self.launch(contestant.server, &addresses, application)?;
            running.wait_until(|| contestant.server.is_ready(&addresses))?;
            let publish = match contestant.server {
                Server::Perihelion
                | Server::PerihelionStore
                | Server::PerihelionFiles
                | Server::PerihelionQueue => (Dialect::Perihelion, addresses.control),
                Server::PerihelionGrip | Server::Pushpin => (Dialect::Grip, addresses.control),
                Server::Bare => (Dialect::Bare, addresses.control),
                _ => (Dialect::Nchan, addresses.listen),
            };
            let address = if contestant.tls { addresses.tls } else { addresses.listen };
            Ok(Started { running, address, publish })
        })
        .with_context(|| format!("{} does not start", contestant.name))
    }

    fn launch(&self, server: Server, addresses: &Addresses, application: SocketAddr) -> Result<Running> {
        let module = nchan_module().unwrap_or_default();
        let values = [
            ("NCHAN_MODULE", module.display().to_string()),
            ("TLS_LISTEN", addresses.tls.to_string()),
            ("LISTEN", addresses.listen.to_string()),
            ("CONTROL_HOST", addresses.control.ip().to_string()),
            ("CONTROL_PORT", addresses.control.port().to_string()),
            ("CONTROL", addresses.control.to_string()),
            ("BACKEND", application.to_string()),
            ("HISTORY", HISTORY.to_owned()),
            ("WORKERS", "1".to_owned()),
        ];
        match server {
            Server::Nginx => self.start_nginx("nginx", &self.configure("nginx.conf", &values)?),
            Server::Nchan => self.start_nginx("nchan", &self.configure("nchan.conf", &values)?),
            Server::Haproxy => self.start_haproxy("haproxy", &values),
            Server::HaproxyQueue => self.start_haproxy("haproxy-queue", &values),
            Server::Perlbal => {
                let file = self.configure("perlbal.conf", &values)?;
                self.run("perlbal", &program("perlbal")?, &["-c", &file])
            }
            Server::Perihelion => self.start_perihelion("perihelion", &values),
            Server::PerihelionStore => self.start_perihelion("perihelion-store", &values),
            Server::PerihelionFiles => self.start_perihelion("perihelion-files", &values),
            Server::PerihelionQueue => self.start_perihelion("perihelion-queue", &values),
            Server::PerihelionGrip => self.start_perihelion("perihelion-grip", &values),
            Server::Pushpin => {
                fs::create_dir_all(self.folder.path().join("pushpin"))?;
                self.configure("pushpin-routes", &values)?;
                let file = self.configure("pushpin.conf", &values)?;
                self.run("pushpin", &program("pushpin")?, &[&format!("--config={file}")])
            }
            Server::Workers => anyhow::bail!("the workers are no proxy"),
            Server::Bare => {
                let arguments = ["bare", &addresses.listen.to_string(), &addresses.control.to_string()];
                self.run("bare", &std::env::current_exe()?, &arguments)
            }
        }
    }

    fn start_perihelion(&self, name: &str, values: &[(&str, String)]) -> Result<Running> {
        let file = self.configure(&format!("{name}.yaml"), values)?;
        let binary = self.perihelion.as_deref().context("no binary was given")?;
        self.run(name, binary, &["run", "-c", &file])
    }

    fn start_haproxy(&self, name: &str, values: &[(&str, String)]) -> Result<Running> {
        let file = self.configure(&format!("{name}.cfg"), values)?;
        self.run(name, &program("haproxy")?, &["-db", "-f", &file])
    }

    fn start_nginx(&self, name: &str, file: &str) -> Result<Running> {
        let errors = self.folder.path().join(format!("{name}.start"));
        self.run(name, &program("nginx")?, &["-e", &errors.display().to_string(), "-c", file])
    }

    fn run(&self, name: &str, program: &Path, arguments: &[&str]) -> Result<Running> {
        Running::start(name, program, arguments, self.folder.path().join(format!("{name}.log")))
    }

    /// Writes a template with the values put in, longer names first where one is part of another.
    fn configure(&self, name: &str, values: &[(&str, String)]) -> Result<String> {
        let mut text = template(name).replace("PEERDIR", &self.folder.path().display().to_string());
        for (word, value) in values {
            text = text.replace(word, value);
        }
        let file = self.folder.path().join(name);
        fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
        Ok(file.display().to_string())
    }
}

impl Server {
    /// What subscribers ask for.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Server::PerihelionGrip | Server::Pushpin => "/grip",
            _ => "/sub",
        }
    }

    fn is_ready(self, addresses: &Addresses) -> bool {
        match self {
            Server::Perihelion
            | Server::PerihelionStore
            | Server::PerihelionFiles
            | Server::PerihelionGrip
            | Server::PerihelionQueue => answers_ok(addresses.control, "/readyz"),
            Server::Nginx | Server::Haproxy | Server::HaproxyQueue | Server::Perlbal => {
                answers_ok(addresses.listen, "/")
            }
            // It proxies before the process that holds is up, and answers what is to be held with 500 until then.
            Server::Pushpin => answers_ok(addresses.listen, self.path()),
            Server::Nchan | Server::Workers => TcpStream::connect(addresses.listen).is_ok(),
            Server::Bare => TcpStream::connect(addresses.control).is_ok(),
        }
    }
}

/// What a contestant's program calls its version; empty where it doesn't say.
pub(crate) fn version(arena: &Arena, server: Server) -> String {
    let (program, arguments): (PathBuf, &[&str]) = match server {
        Server::Perihelion
        | Server::PerihelionStore
        | Server::PerihelionFiles
        | Server::PerihelionQueue
        | Server::PerihelionGrip => (arena.perihelion.clone().unwrap_or_default(), &["--version"]),
        Server::Nginx => (find_program("nginx").unwrap_or_default(), &["-v"]),
        Server::Haproxy | Server::HaproxyQueue => (find_program("haproxy").unwrap_or_default(), &["-v"]),
        Server::Perlbal => (find_program("perlbal").unwrap_or_default(), &["--version"]),
        Server::Pushpin => (find_program("pushpin").unwrap_or_default(), &["--version"]),
        Server::Nchan => {
            let arguments = &["-W", "-f", "nginx with nchan ${Version}", "libnginx-mod-nchan"];
            (find_program("dpkg-query").unwrap_or_default(), arguments)
        }
        Server::Bare => return "the loop in `benches/side_by_side/src/bare.rs`".to_owned(),
        Server::Workers => return "the workers in `benches/side_by_side/src/workers.rs`".to_owned(),
    };
    let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
    // nginx says twice who it is, haproxy adds its home page.
    let line = line.trim_start_matches("nginx version: ");
    line.split(" - http").next().unwrap_or_default().to_owned()
}

/// GETs `path` with a connection of its own; true for 200.
fn answers_ok(address: SocketAddr, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line)?;
        Ok(status_line.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

fn retried(mut start: impl FnMut() -> Result<Started>) -> Result<Started> {
    let mut attempt = 1;
    loop {
        match start() {
            Err(_) if attempt < STARTS_MAX => attempt += 1,
            outcome => return outcome,
        }
    }
}

fn program(name: &str) -> Result<PathBuf> {
    find_program(name).with_context(|| format!("{name} is not installed"))
}

fn nchan_module() -> Option<PathBuf> {
    let path = PathBuf::from("/usr/lib/nginx/modules/ngx_nchan_module.so");
    path.is_file().then_some(path)
}

fn template(name: &str) -> &'static str {
    match name {
        "backend.conf" => include_str!("../peers/backend.conf"),
        "nginx.conf" => include_str!("../peers/nginx.conf"),
        "nchan.conf" => include_str!("../peers/nchan.conf"),
        "haproxy.cfg" => include_str!("../peers/haproxy.cfg"),
        "haproxy-queue.cfg" => include_str!("../peers/haproxy-queue.cfg"),
        "perlbal.conf" => include_str!("../peers/perlbal.conf"),
        "pushpin.conf" => include_str!("../peers/pushpin.conf"),
        "pushpin-routes" => include_str!("../peers/pushpin-routes"),
        "perihelion-grip.yaml" => include_str!("../peers/perihelion-grip.yaml"),
        "perihelion-queue.yaml" => include_str!("../peers/perihelion-queue.yaml"),
        "perihelion-store.yaml" => include_str!("../peers/perihelion-store.yaml"),
        "perihelion-files.yaml" => include_str!("../peers/perihelion-files.yaml"),
        _ => include_str!("../peers/perihelion.yaml"),
    }
}

/// Fails unless the machine lets a server hold so many connections and have files to spare.
pub(crate) fn check_file_limit(limit: u64, connections: usize) -> Result<()> {
    let needed = connections as u64 + 500;
    ensure!(
        limit >= needed,
        "{connections} connections need {needed} open files, the limit is {limit}: raise `ulimit -n` or give --connections"
    );
    Ok(())
}
