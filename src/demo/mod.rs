//! `perihelion demo`: an example application behind the real proxy, to try and to show.
//!
//! The room has the application and what the proxy in front of it is configured with; it does not start the
//! proxy. In order: [`Demo::bind`], a proxy from [`Demo::configuration`], [`Demo::open`] with the addresses at
//! which that proxy really listens, and [`Open::greeting`] for whoever sits at the terminal.

mod answers;
mod app;
mod gallery;
mod input;
mod pages;
mod picture;
mod publisher;
mod talk;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use app::{App, Running};

/// Where the demo listens unless told otherwise; the address of the documentation's examples.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The log's part of the configuration: the terminal belongs to the greeting.
const QUIET: &str = "{ access: off, level: warn }";

/// The demo before its proxy has started: the application has an address and does not serve yet.
#[derive(Debug)]
pub struct Demo {
    app: App,
    listen: SocketAddr,
}

impl Demo {
    /// Gives the application an address. `listen` is the proxy's; port 0 lets the system choose.
    ///
    /// # Errors
    /// Fails where the system has no port or descriptor left.
    pub fn bind(listen: SocketAddr) -> anyhow::Result<Demo> {
        Ok(Demo { app: App::bind()?, listen })
    }

    /// The proxy's configuration as a user would write it. The port of the control port is
    /// the system's choice.
    pub fn configuration(&self) -> String {
        configuration(&format!("\"{}\"", self.listen), self.app.address(), "127.0.0.1:0")
    }

    /// Lets the application serve, once the proxy listens at `proxy` and its control port at `control`.
    ///
    /// # Errors
    /// Fails where the system refuses a thread.
    pub fn open(self, proxy: SocketAddr, control: SocketAddr) -> anyhow::Result<Open> {
        Ok(Open { proxy: reachable(proxy), control, app: self.app.run(control)? })
    }
}

/// Everything goes to the application, but for two paths that the proxy answers by itself.
fn configuration(listen: &str, upstream: SocketAddr, control: impl std::fmt::Display) -> String {
    format!(
        "\
listen: {listen}
control: {control}
pools: {{ app: http://{upstream} }}
sites:
  \"*\":
    routes:
      - {{ path: /, pool: app }}
      - {{ path: /perihelion.js, script: {{}} }}
      - {{ path: /cometd, bayeux: {{}} }}
log: {QUIET}
"
    )
}

/// The demo while people use it. Dropping it ends the application.
#[derive(Debug)]
pub struct Open {
    proxy: SocketAddr,
    control: SocketAddr,
    app: Running,
}

impl Open {
    /// What to tell the person at the terminal. The page's address is the first that it names.
    pub fn greeting(&self) -> String {
        let Open { proxy, control, app } = self;
        let app = app.address();
        let configuration = configuration(&proxy.to_string(), app, control).replace('\n', "\n  ");
        let configuration = configuration.trim_end();
        format!(
            "\
Perihelion {version}, the demo: a chat and a talk, live in every window that shows them.

  Open in two windows     http://{proxy}/
  Thirty years of Comet   http://{proxy}/gallery
  Slides, by five lines   http://{proxy}/slideshow
  A chat over Bayeux      http://{proxy}/bayeux
  The application alone   http://{app}/
  The control port        http://{control}/

The proxy's configuration; for the first page its first two lines and `upstream:` would do:

  {configuration}

With curl, each in a terminal of its own:

  # listen to everything, until Control-C
  curl -N http://{proxy}/events
  # wait for what is said next, 25 seconds at the most
  curl http://{proxy}/poll
  # ask the application to say something, and to turn to slide 4
  curl -d name=Curl -d text='Hello, everybody' http://{proxy}/chat
  curl -d name=Curl -d slide=4 http://{proxy}/slide
  # publish past the application
  curl -d 'Straight from the control port' http://{control}/channels/chat
  # see who is listening
  curl http://{control}/channels/chat

Control-C ends it.
",
            version = env!("CARGO_PKG_VERSION"),
        )
    }
}

/// An address that can be opened on this machine: where the proxy listens on all, loopback is one of them.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}
