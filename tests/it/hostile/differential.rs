//! What is let through, as real servers understand it: for each of them the proxy stands in front of an application that
//! says what it was asked, and every row has to be to it what it was to the proxy.
//!
//! A server that refuses what it may refuse has understood nothing wrong; what it must not do is to see another request.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{After, Case, chunks, fields, forwarded, framing, lines, targets};
use crate::support::{Folder, Perihelion, Place, look_for};

/// What an application says of a request: method, target and body, and each field's value in hexadecimal, in lines.
const NODE: &str = r#"
const hex = text => Buffer.from(text, 'latin1').toString('hex');
require('http').createServer((request, response) => {
  const pieces = [];
  request.on('data', piece => pieces.push(piece)).on('end', () => {
    const lines = [request.method, hex(request.url), Buffer.concat(pieces).toString('hex')];
    for (let at = 0; at < request.rawHeaders.length; at += 2)
      lines.push(request.rawHeaders[at].toLowerCase() + ' ' + hex(request.rawHeaders[at + 1]));
    response.end(lines.join('\n'));
  });
}).listen(Number(process.argv[3]), process.argv[2]);
"#;
const PYTHON: &str = r#"
def application(environ, start_response):
    body = environ["wsgi.input"].read().hex()
    lines = [environ["REQUEST_METHOD"], environ["RAW_URI"].encode("latin-1").hex(), body]
    for name, value in environ.items():
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = name.removeprefix("HTTP_").replace("_", "-").lower()
            lines.append(name + " " + value.encode("latin-1").hex())
    answer = "\n".join(lines).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
"#;
const RACK: &str = r##"
hex = ->(text) { text.b.unpack1('H*') }
run(lambda do |env|
  body = env['rack.input'] ? env['rack.input'].read.to_s : ''
  lines = [env['REQUEST_METHOD'], hex.(env['REQUEST_URI']), hex.(body)]
  env.each do |name, value|
    next unless name.start_with?('HTTP_') || %w[CONTENT_TYPE CONTENT_LENGTH].include?(name)
    next if name == 'HTTP_VERSION'
    lines << "#{name.delete_prefix('HTTP_').tr('_', '-').downcase} #{hex.(value)}"
  end
  [200, { 'content-type' => 'text/plain' }, [lines.join("\n")]]
end)
"##;
const PHP: &str = r#"<?php
$lines = [$_SERVER['REQUEST_METHOD'], bin2hex($_SERVER['REQUEST_URI']), bin2hex(file_get_contents('php://input'))];
foreach (getallheaders() as $name => $value) $lines[] = strtolower($name) . ' ' . bin2hex($value);
header('Content-Type: text/plain');
echo implode("\n", $lines);
"#;
/// Puma lets a method that it doesn't understand wait for as long as an idle connection may live.
const PUMA: &str = "persistent_timeout 2\n";
const APACHE: &str = r#"
ServerRoot $FOLDER
ServerName localhost
Listen $APP
PidFile $FOLDER/apache2.pid
DefaultRuntimeDir $FOLDER
Mutex file:$FOLDER
ErrorLog $FOLDER/error.log
User www-data
Group www-data
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule php_module $PHP
StartServers 2
MaxRequestWorkers 4
AcceptPathInfo On
AllowEncodedSlashes On
HttpProtocolOptions Strict LenientMethods
DocumentRoot $FOLDER/site
<Directory $FOLDER/site>
  Require all granted
  FallbackResource /index.php
</Directory>
<FilesMatch "\.php$">
  SetHandler application/x-httpd-php
</FilesMatch>
"#;
/// It has no application, so it says method and target only, the target as it came.
const NGINX: &str = r#"
daemon off;
pid $FOLDER/nginx.pid;
error_log $FOLDER/error.log;
worker_processes 1;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path $FOLDER/bodies;
  proxy_temp_path $FOLDER/proxy; fastcgi_temp_path $FOLDER/fastcgi;
  uwsgi_temp_path $FOLDER/uwsgi; scgi_temp_path $FOLDER/scgi;
  server {
    listen $APP;
    underscores_in_headers on;
    location / { default_type text/plain; return 200 "$request_method\n=$request_uri\n?\n"; }
  }
}
"#;

/// Longest wait for a server of somebody else's: some read a thousand files before they listen.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server with its application, until dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // As it wants to be asked, so that it ends its own processes.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[&str], folder: &Folder, address: SocketAddr) -> Option<Running> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
    // Apache ends its whole group, which would be that of the tests.
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let Ok(child) = command.spawn() else {
        eprintln!("skipped: {program} is missing");
        return None;
    };
    let running = Running(child);
    let up = look_for(PATIENCE, || TcpStream::connect(address).ok());
    assert!(up.is_some(), "waited {PATIENCE:?} in vain: {program} accepts");
    Some(running)
}

/// What a row is to the application.
#[derive(Debug, PartialEq, Eq)]
struct Meant {
    method: String,
    target: Vec<u8>,
    /// `None` where nobody says.
    body: Option<Vec<u8>>,
    fields: Vec<(String, Vec<u8>)>,
}

impl Meant {
    /// From a row.
    fn of(seen: &[u8]) -> Meant {
        let end = seen.windows(2).position(|two| two == b"\n\n").expect("a head ends");
        let (head, body) = (&seen[..end], &seen[end + 2..]);
        let mut lines = head.split(|byte| *byte == b'\n');
        let line = lines.next().expect("a request line");
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let fields = lines.map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').expect("a field");
            (String::from_utf8_lossy(&line[..colon]).into_owned(), line[colon + 1..].trim_ascii().to_vec())
        });
        Meant {
            method: String::from_utf8_lossy(words[0]).into_owned(),
            target: words[1].to_vec(),
            body: Some(body.to_vec()),
            fields: fields.collect(),
        }
    }

    /// From an application.
    fn said(text: &[u8]) -> Option<Meant> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let method = String::from_utf8(lines.next()?.to_vec()).ok()?;
        let target = lines.next()?;
        let target = match target.strip_prefix(b"=") {
            Some(raw) => raw.to_vec(),
            None => unhex(target)?,
        };
        let body = lines.next()?;
        let body = if body == b"?" { None } else { Some(unhex(body)?) };
        let fields = lines.filter_map(|line| {
            let blank = line.iter().position(|byte| *byte == b' ')?;
            Some((String::from_utf8_lossy(&line[..blank]).into_owned(), unhex(&line[blank + 1..])?))
        });
        Some(Meant { method, target, body, fields: fields.collect() })
    }

    /// What of it is another request than was meant.
    fn differs(&self, meant: &Meant, folds_methods: bool) -> Option<String> {
        let mut wrong = String::new();
        // gunicorn 20 makes `get` a GET: what it takes for safe is less so for the proxy, which repeats no `get`.
        if !self.method.eq_ignore_ascii_case(&meant.method) || self.method != meant.method && !folds_methods {
            let _ = write!(wrong, " method {:?}", self.method);
        }
        if self.target != meant.target {
            let _ = write!(wrong, " target {}", self.target.escape_ascii());
        }
        if self.body.is_some() && self.body != meant.body {
            let _ =
                write!(wrong, " body {:?}", self.body.as_ref().map(|body| body.escape_ascii().to_string()));
        }
        // Those that stand once: libraries join the others, each in its own way. Framing shows in the body.
        let framing = ["transfer-encoding", "content-length", "connection", "te", "upgrade"];
        for (name, value) in meant.fields.iter().filter(|(name, _)| !framing.contains(&name.as_str())) {
            let once = meant.fields.iter().filter(|(other, _)| other == name).count() == 1;
            let mut said = self.fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
            if let (true, Some(said)) = (once, said.next())
                && said.trim_ascii() != value.trim_ascii()
            {
                let _ = write!(wrong, " {name} {}", said.escape_ascii());
            }
        }
        (!wrong.is_empty()).then_some(wrong)
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// Every row that goes through whole, once.
fn rows() -> impl Iterator<Item = &'static Case> {
    let all = [framing::CASES, chunks::CASES, lines::CASES, targets::CASES, fields::CASES, forwarded::CASES]
        .into_iter();
    all.flatten().filter(|case| case.answers == [200] && case.seen.len() == 1 && case.then == After::Kept)
}

/// Plays the rows; at least so many have to be understood at all.
fn compare(name: &str, app: SocketAddr, least: usize) {
    let configuration = format!("listen: $HTTP\nupstream: \"http://{app}\"\ncontrol: $CONTROL\n");
    let proxy = Perihelion::start(&configuration);
    let (mut understood, mut wrong) = (0, Vec::new());
    for case in rows() {
        let meant = Meant::of(case.seen[0]);
        let bytes = case.sent.bytes();
        let mut raw = proxy.connect();
        raw.send(&bytes);
        let answer = raw.answer();
        let shown = || format!("{}: {}", case.item, bytes.escape_ascii());
        if answer.status() == 200 {
            // A server may have an answer of its own to `OPTIONS *`.
            let Some(said) = Meant::said(&answer.body) else { continue };
            understood += 1;
            wrong
                .extend(said.differs(&meant, name == "gunicorn").map(|what| format!("{} is{what}", shown())));
        }
        // Nothing of it is left for whoever comes next.
        if answer.head.get("connection").is_none_or(|value| value != "close") {
            let next = Meant::said(&raw.get("/next").body);
            if next.is_none_or(|next| next.target != b"/next" || next.method != "GET") {
                wrong.push(format!("{} changes the next request", shown()));
            }
        }
    }
    assert!(wrong.is_empty(), "{name} understands otherwise:\n{}", wrong.join("\n"));
    assert!(understood >= least, "{name} understood {understood} rows");
    eprintln!("{name}: {understood} of {} rows are what was meant", rows().count());
}

fn address(place: &Place) -> SocketAddr {
    SocketAddr::new(place.http().ip(), 8000)
}

#[test]
fn node_understands_what_was_meant() {
    let place = Place::new();
    let app = address(&place);
    let script = place.folder.write("app.js", NODE).display().to_string();
    let arguments = [script.as_str(), &app.ip().to_string(), "8000"];
    if let Some(_running) = start("node", &arguments, &place.folder, app) {
        compare("node", app, 60);
    }
}

#[test]
fn gunicorn_understands_what_was_meant() {
    let place = Place::new();
    let app = address(&place);
    place.folder.write("app.py", PYTHON);
    let bind = app.to_string();
    if let Some(_running) =
        start("gunicorn", &["-b", &bind, "-k", "gthread", "app:application"], &place.folder, app)
    {
        compare("gunicorn", app, 60);
    }
}

#[test]
fn puma_understands_what_was_meant() {
    let place = Place::new();
    let app = address(&place);
    place.folder.write("config.ru", RACK);
    place.folder.write("puma.rb", PUMA);
    let bind = format!("tcp://{app}");
    let arguments = ["-q", "-e", "production", "-C", "puma.rb", "-b", &bind, "config.ru"];
    if let Some(_running) = start("puma", &arguments, &place.folder, app) {
        compare("puma", app, 50);
    }
}

#[test]
fn nginx_understands_what_was_meant() {
    let place = Place::new();
    let app = address(&place);
    let text = place.fill(NGINX).replace("$APP", &app.to_string());
    let file = place.folder.write("nginx.conf", &text).display().to_string();
    if let Some(_running) = start("/usr/sbin/nginx", &["-c", &file], &place.folder, app) {
        compare("nginx", app, 60);
    }
}

#[test]
fn apache_understands_what_was_meant() {
    let modules = std::fs::read_dir("/usr/lib/apache2/modules");
    let php = modules.into_iter().flatten().flatten().map(|entry| entry.path()).find(|path| is_php(path));
    let (Some(php), true) = (php, rustix::process::geteuid().is_root()) else {
        return eprintln!("skipped: needs root, apache2 and libapache2-mod-php");
    };
    let place = Place::new();
    let app = address(&place);
    // Its processes are somebody else's.
    std::fs::set_permissions(place.folder.path(), Permissions::from_mode(0o755))
        .expect("a folder of our own");
    std::fs::create_dir(place.folder.path().join("site")).expect("a folder of our own");
    place.folder.write("site/index.php", PHP);
    let text =
        place.fill(APACHE).replace("$APP", &app.to_string()).replace("$PHP", &php.display().to_string());
    let file = place.folder.write("apache2.conf", &text).display().to_string();
    if let Some(_running) = start("/usr/sbin/apache2", &["-D", "FOREGROUND", "-f", &file], &place.folder, app)
    {
        compare("apache", app, 50);
    }
}

fn is_php(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("libphp"))
}
