//! The subcommands: what they take, what they print, how they end.
//!
//! Exit codes: 0 ended as asked, 1 failed, 2 wrong usage (clap's own). Errors go to standard error in one line that
//! begins with the program's name, but for the problems of a configuration, which begin with their place.

mod control_client;
mod control_tls;
#[cfg(test)]
pub(crate) mod fuzz;
mod pushpin;
mod table;

use std::io::{IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Endpoint, LogLevel, UpstreamTls};
use crate::demo::{DEFAULT_LISTEN, Demo};
use crate::pulse::count_panics;
use crate::server::{Server, raise_descriptor_limit, tell_of_descriptor_limit};

use control_client::ControlClient;

/// A reverse proxy that takes Comet off an existing web application.
#[derive(Debug, Parser)]
#[command(name = "perihelion", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop: TERM, INT or QUIT drains and stops, HUP reads the configuration again.
    Run(File),
    /// Read a configuration and say every error in it.
    Check(File),
    /// Serve an example application behind the real proxy.
    Demo {
        /// Where to listen.
        #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_LISTEN)]
        listen: SocketAddr,
    },
    /// Publish one message through the control port.
    Publish(Publish),
    /// Write a configuration from that of another server.
    Import {
        #[command(subcommand)]
        from: Import,
    },
    /// List the channels of a running proxy with subscribers and history.
    Channels(Port),
}

#[derive(Debug, Subcommand)]
enum Import {
    /// Print a configuration for what Pushpin does, with a comment for each thing that has no equivalent.
    Pushpin {
        #[command(subcommand)]
        what: Pushpin,
    },
}

#[derive(Debug, Subcommand)]
enum Pushpin {
    /// From its routes file and its `pushpin.conf`.
    Routes {
        /// The routes file.
        routes: PathBuf,
        /// `pushpin.conf`; what is left out is taken for Pushpin's defaults.
        conf: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct File {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Publish {
    /// The channel.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    channel: String,
    /// The message; standard input where it is left out.
    #[arg(allow_hyphen_values = true)]
    data: Option<String>,
    /// Name of the event.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// An id of yours: the same id again is delivered once.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    port: Port,
}

#[derive(Debug, Args)]
struct Port {
    /// The control port: http://HOST:PORT, https://HOST:PORT, or unix:PATH.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7070")]
    control: String,
    /// Its token.
    #[arg(long, value_name = "TOKEN", env = "PERIHELION_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Certificates of those who may vouch for it; whom the system trusts where it is left out.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A certificate to show, its key in the same file or in that of --key.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let outcome = match command {
        Command::Run(File { config }) => run(&config),
        Command::Check(File { config }) => check(&config),
        Command::Demo { listen } => demo(listen),
        Command::Publish(publish) => self::publish(publish),
        Command::Import { from: Import::Pushpin { what: Pushpin::Routes { routes, conf } } } => {
            import(&routes, conf.as_deref())
        }
        Command::Channels(port) => channels(&port),
    };
    match outcome {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perihelion: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever read the output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::FAILURE);
        }
    };
    log_to_standard_error(config.log.level);
    count_panics();
    raise_descriptor_limit();
    tell_of_descriptor_limit(config.limits.held_connections, config.limits.held_is_typed);
    Server::start(config, Some(file.to_owned()))?.wait();
    Ok(ExitCode::SUCCESS)
}

fn check(file: &Path) -> anyhow::Result<ExitCode> {
    match Config::load(file) {
        Ok(_) => {
            writeln!(std::io::stdout(), "{}: ok", file.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            eprintln!("{problems}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn demo(listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let demo = Demo::bind(listen)?;
    let config = Config::parse("demo", &demo.configuration(), &|_| None)?;
    log_to_standard_error(config.log.level);
    raise_descriptor_limit();
    let running = Server::start(config, None)?;
    let proxy = running.addresses.first().copied().context("the demo listens nowhere")?;
    let Some(Endpoint::Tcp(control)) = running.control else { anyhow::bail!("the demo has no control port") };
    let open = demo.open(proxy, control)?;
    write!(std::io::stdout(), "{}", open.greeting())?;
    running.wait();
    Ok(ExitCode::SUCCESS)
}

fn publish(publish: Publish) -> anyhow::Result<ExitCode> {
    let Publish { channel, data, event, id, port } = publish;
    let data = match data {
        Some(data) => data.into_bytes(),
        None => read_standard_input()?,
    };
    let receipt = client(&port)?.publish(&channel, data, event.as_deref(), id.as_deref())?;
    writeln!(std::io::stdout(), "{} to {}", receipt.id, counted(receipt.subscribers, "subscriber"))?;
    Ok(ExitCode::SUCCESS)
}

fn read_standard_input() -> anyhow::Result<Vec<u8>> {
    let mut data = Vec::new();
    std::io::stdin().read_to_end(&mut data).context("standard input can't be read")?;
    Ok(data)
}

fn import(routes: &Path, conf: Option<&Path>) -> anyhow::Result<ExitCode> {
    let read = |path: &Path| -> anyhow::Result<(String, PathBuf)> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("`{}` can't be read", path.display()))?;
        let folder = std::path::absolute(path)?.parent().map(Path::to_owned).unwrap_or_default();
        Ok((text, folder))
    };
    let (routes, conf) = (read(routes)?, conf.map(read).transpose()?);
    let written = pushpin::import(source(&routes), conf.as_ref().map(source));
    std::io::stdout().write_all(written.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn source((text, folder): &(String, PathBuf)) -> pushpin::Source<'_> {
    pushpin::Source { text, folder }
}

fn channels(port: &Port) -> anyhow::Result<ExitCode> {
    let client = client(port)?;
    let mut channels = Vec::new();
    let mut after = None;
    loop {
        let mut page = client.channels(after.as_deref())?;
        channels.append(&mut page.channels);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    std::io::stdout().write_all(table::of_channels(&channels).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn client(port: &Port) -> anyhow::Result<ControlClient> {
    let Port { control, token, ca, certificate, key } = port;
    let tls = UpstreamTls::of_files(ca.as_deref(), certificate.as_deref(), key.as_deref());
    ControlClient::new(control, token.as_deref(), &tls.map_err(anyhow::Error::msg)?)
}

fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn log_to_standard_error(level: LogLevel) {
    // Below the last level, the library of HTTP/2 would say every frame.
    let filter = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info,h2=warn",
        LogLevel::Debug => "debug,h2=warn",
        LogLevel::Trace => "trace",
    };
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    log.with_env_filter(EnvFilter::new(filter)).init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_contract() {
        Arguments::command().debug_assert();
        let parsed =
            |line: &str| Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command);
        assert!(matches!(parsed("perihelion run -c a.yaml"), Ok(Command::Run(_))));
        assert!(matches!(parsed("perihelion check -c a.yaml"), Ok(Command::Check(_))));
        assert!(matches!(
            parsed("perihelion channels --control unix:/x --token t"),
            Ok(Command::Channels(_))
        ));
        let Ok(Command::Publish(publish)) = parsed("perihelion publish news -5 --event e --id i") else {
            panic!("publish takes data that looks like an option")
        };
        assert_eq!((publish.channel.as_str(), publish.data.as_deref()), ("news", Some("-5")));
        for (line, code) in [("perihelion run", 2), ("perihelion dance", 2), ("perihelion --version", 0)] {
            assert_eq!(parsed(line).unwrap_err().exit_code(), code, "{line}");
        }
    }
}
