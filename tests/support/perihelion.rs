//! The real binary: started with a configuration, asked over its ports, stopped by signals, killed with the test.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{Answer, DEADLINE, Folder, Origin, Raw, look_for, wait_for, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_perihelion");

/// Loopback addresses and a folder of one test. Ports are fixed and addresses are not, so that nothing else on
/// the machine, connections on their way out included, can be in the way.
pub(crate) struct Place {
    pub(crate) folder: Folder,
    address: IpAddr,
}

static PLACES: AtomicU32 = AtomicU32::new(1);

impl Place {
    pub(crate) fn new() -> Place {
        let process = std::process::id();
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let [_, _, third, fourth] = number.to_be_bytes();
        // 127.1.0.0 to 127.254.255.255, away from 127.0.0.1 where everybody is.
        let second = 1 + (process % 254) as u8;
        let address = Ipv4Addr::new(127, second, third ^ (process / 254) as u8, fourth);
        Place { folder: Folder::new(), address: address.into() }
    }

    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::new(self.address, 8080)
    }

    pub(crate) fn tls(&self) -> SocketAddr {
        SocketAddr::new(self.address, 8443)
    }

    pub(crate) fn control(&self) -> SocketAddr {
        SocketAddr::new(self.address, 7070)
    }

    /// Puts the place into a text: `$HTTP`, `$TLS`, `$CONTROL`, `$FOLDER`.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("$HTTP", &self.http().to_string())
            .replace("$TLS", &self.tls().to_string())
            .replace("$CONTROL", &self.control().to_string())
            .replace("$FOLDER", &self.folder.path().display().to_string())
    }

    fn write_configuration(&self, text: &str) {
        self.folder.write("perihelion.yaml", &self.fill(text));
    }
}

/// A proxy that runs.
pub(crate) struct Perihelion {
    child: Child,
    pub(crate) place: Place,
    token: Option<String>,
    stdout: Output,
    stderr: Output,
}

impl Perihelion {
    /// In front of one application, with the shortest configuration.
    pub(crate) fn before(origin: &Origin) -> Perihelion {
        Perihelion::before_with(origin, "")
    }

    /// The same with more keys.
    pub(crate) fn before_with(origin: &Origin, more: &str) -> Perihelion {
        Perihelion::start(&before(origin, more))
    }

    pub(crate) fn start(configuration: &str) -> Perihelion {
        Perihelion::start_at(Place::new(), configuration, None)
    }

    /// Starts and waits until it takes traffic. The token is what tests carry to the control port.
    pub(crate) fn start_at(place: Place, configuration: &str, token: Option<&str>) -> Perihelion {
        let mut started = Perihelion::launch(place, configuration, token);
        started.wait_ready();
        started
    }

    /// Starts one whose control port is the socket `$FOLDER/control.sock`, and waits until it accepts.
    pub(crate) fn start_with_unix_control(configuration: &str) -> Perihelion {
        let started = Perihelion::launch(Place::new(), configuration, None);
        let path = started.place.folder.path().join("control.sock");
        wait_until("the control port accepts", || std::os::unix::net::UnixStream::connect(&path).is_ok());
        started
    }

    /// Starts one whose control port speaks TLS, and waits until it accepts.
    pub(crate) fn start_with_tls_control(place: Place, configuration: &str) -> Perihelion {
        let started = Perihelion::launch(place, configuration, None);
        let control = started.place.control();
        wait_until("the control port accepts", || std::net::TcpStream::connect(control).is_ok());
        started
    }

    /// The same behind other words, which run what follows them.
    pub(crate) fn start_behind(words: &[String], place: Place, configuration: &str) -> Perihelion {
        place.write_configuration(configuration);
        let (child, stdout, stderr) = spawn(&place, words);
        let mut started = Perihelion { child, place, token: None, stdout, stderr };
        started.wait_ready();
        started
    }

    fn launch(place: Place, configuration: &str, token: Option<&str>) -> Perihelion {
        place.write_configuration(configuration);
        let (child, stdout, stderr) = spawn(&place, &[]);
        Perihelion { child, place, token: token.map(str::to_string), stdout, stderr }
    }

    /// Kills it, and starts it again with the same files.
    pub(crate) fn kill_and_start(&mut self) {
        self.signal("KILL");
        self.wait_exit();
        (self.child, self.stdout, self.stderr) = spawn(&self.place, &[]);
        self.wait_ready();
    }

    /// Starts a second process that is expected to end, with the place of this one.
    pub(crate) fn start_another(&self, configuration: &str) -> Finished {
        let file = self.place.folder.write("another.yaml", &self.place.fill(configuration));
        run(&["run", "-c", &file.display().to_string()], "")
    }

    fn wait_ready(&mut self) {
        let control = self.place.control();
        wait_until("the control port answers", || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the proxy ended: {status}");
            }
            std::net::TcpStream::connect(control).is_ok()
        });
        wait_until("/readyz says 200", || self.control("GET", "/readyz", "").status() == 200);
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.place.http()
    }

    /// A plain connection to the proxy.
    pub(crate) fn connect(&self) -> Raw {
        Raw::connect(self.http())
    }

    /// One `GET` on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.connect().get(target)
    }

    /// One request to the control port.
    #[track_caller]
    pub(crate) fn control(&self, method: &str, path: &str, body: &str) -> Answer {
        self.control_with(method, path, "", body)
    }

    /// The same with header lines, each ended by CR LF.
    #[track_caller]
    pub(crate) fn control_with(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut raw = Raw::connect(self.place.control());
        let (host, length) = (self.place.control(), body.len());
        let token =
            self.token.as_ref().map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        raw.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{token}{headers}Content-Length: {length}\r\n\r\n{body}"
        ));
        raw.answer()
    }

    /// Publishes a text; gives its position.
    #[track_caller]
    pub(crate) fn publish(&self, channel: &str, data: &str) -> String {
        self.publish_with(channel, "", data)
    }

    #[track_caller]
    pub(crate) fn publish_with(&self, channel: &str, headers: &str, data: &str) -> String {
        let answer = self.control_with("POST", &format!("/channels/{channel}"), headers, data);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.json()["id"].as_str().expect("a position").to_string()
    }

    /// Subscribers of a channel; 0 where it does not exist.
    pub(crate) fn subscribers(&self, channel: &str) -> u64 {
        let answer = self.control("GET", &format!("/channels/{channel}"), "");
        if answer.status() == 404 {
            return 0;
        }
        answer.json()["subscribers"].as_u64().expect("a number")
    }

    #[track_caller]
    pub(crate) fn wait_subscribers(&self, channel: &str, count: u64) {
        wait_until(&format!("{channel} has {count} subscribers"), || self.subscribers(channel) == count);
    }

    /// The sum of all series of a metric that carry these labels; 0 where there are none.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        series(&self.metrics(), name, labels)
    }

    #[track_caller]
    pub(crate) fn wait_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut last = f64::NAN;
        let reached = look_for(DEADLINE, || {
            last = self.metric(name, labels);
            (last == value).then_some(())
        });
        assert!(reached.is_some(), "waited {DEADLINE:?} in vain: {name} {labels:?} is {last}, not {value}");
    }

    pub(crate) fn metrics(&self) -> String {
        let answer = self.control("GET", "/metrics", "");
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.text()
    }

    /// Writes another configuration and reloads by the control port.
    pub(crate) fn reload(&self, configuration: &str) -> Answer {
        self.place.write_configuration(configuration);
        self.control("POST", "/reload", "")
    }

    /// Writes another configuration without telling anyone.
    pub(crate) fn write_configuration(&self, configuration: &str) {
        self.place.write_configuration(configuration);
    }

    /// Sends a signal by its short name.
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("a shell");
        assert!(status.success(), "{command}");
    }

    /// What the system says of each of its threads.
    pub(crate) fn thread_statuses(&self) -> Vec<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok())
            .collect()
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        wait_for("the process ends", || self.child.try_wait().expect("a child of ours"))
    }

    /// From now on it may have no more open files than so many.
    pub(crate) fn limit_descriptors(&self, count: u64) {
        let limit = Rlimit { current: Some(count), maximum: Some(count) };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).expect("a child of ours");
    }

    /// Its open files.
    pub(crate) fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(path).expect("the process lives").count()
    }

    /// Resident memory.
    pub(crate) fn resident_bytes(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line of Linux");
        let kibibytes: usize =
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("kB");
        kibibytes * 1024
    }

    /// Standard output so far: the access log.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Standard error so far: the error log.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for a line of the access log that fits.
    #[track_caller]
    pub(crate) fn wait_access_line(&self, fits: impl Fn(&str) -> bool) -> String {
        wait_for("a line of the access log", || {
            self.stdout().lines().find(|line| fits(line)).map(str::to_string)
        })
    }
}

impl Drop for Perihelion {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- standard error of the proxy\n{}---", self.stderr.text());
        }
    }
}

fn spawn(place: &Place, behind: &[String]) -> (Child, Output, Output) {
    let mut words = behind.iter().map(String::as_str).chain([BINARY]);
    let mut child = Command::new(words.next().expect("the binary at least"))
        .args(words)
        .args(["run", "-c"])
        .arg(place.folder.path().join("perihelion.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let stdout = Output::of(child.stdout.take());
    let stderr = Output::of(child.stderr.take());
    (child, stdout, stderr)
}

/// The shortest configuration with more keys behind.
fn before(origin: &Origin, more: &str) -> String {
    format!("listen: $HTTP\nupstream: {}\ncontrol: $CONTROL\n{more}\n", origin.url())
}

/// The sum of series in Prometheus text.
fn series(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |line: &&str| {
        let (series, _) = line.rsplit_once(' ').unwrap_or_default();
        let (family, said) = series.split_once('{').unwrap_or((series, ""));
        family == name && labels.iter().all(|(label, value)| said.contains(&format!("{label}=\"{value}\"")))
    };
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
    text.lines().filter(|line| !line.starts_with('#')).filter(fits).filter_map(value).sum()
}

/// A run of the binary that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str], input: &str) -> Finished {
    let mut command = Command::new(BINARY);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // Whoever doesn't read it closes the pipe, which is no fault.
    let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
    drop(stdin);
    let (stdout, stderr) = (Output::of(child.stdout.take()), Output::of(child.stderr.take()));
    let status = wait_for("the command ends", || child.try_wait().expect("a child of ours"));
    Finished { code: status.code(), stdout: stdout.finish(), stderr: stderr.finish() }
}

/// What a process has written to a pipe.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Output {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Output {
        let mut pipe = pipe.expect("it was asked for");
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = bytes.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(length) = pipe.read(&mut piece) {
                if length == 0 {
                    return;
                }
                shared.lock().expect("nobody panics with it").extend_from_slice(&piece[..length]);
            }
        });
        Output { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("nobody panics with it")).into_owned()
    }

    fn finish(self) -> String {
        self.reader.join().expect("it only reads");
        String::from_utf8_lossy(&self.bytes.lock().expect("nobody panics with it")).into_owned()
    }
}
