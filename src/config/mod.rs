//! The configuration: from YAML text to a checked [`Config`], with every problem of a file said at once.
//!
//! Nothing outside this room sees what was typed. A [`Config`] has a value for each key, defaults included,
//! and has passed every rule; the rooms turn its parts into their own runtime types and keep no `Config`.

mod address;
mod authorize;
mod bayeux;
mod buffers;
mod certificate;
mod channel_rules;
mod channels;
mod check;
mod client_certificates;
mod control;
mod control_certificates;
mod decode;
mod der;
mod draft;
mod edge;
mod file;
mod form;
mod grip;
mod grip_key;
mod health;
mod http2;
mod jsonp;
mod limits;
mod listen;
mod log;
mod pool;
mod presence;
mod problem;
mod queue;
mod redirect;
mod reproxy;
mod route;
mod route_grip;
mod script;
mod secret;
mod section;
mod site;
mod store;
mod subject;
mod substitute;
mod tickets;
mod timeouts;
mod tree;
mod units;
mod upstream_tls;
mod user;

#[cfg(test)]
mod bad_files;
#[cfg(test)]
mod documentation;
#[cfg(test)]
mod good_files;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

pub use authorize::{Authority, AuthorizeConfig};
pub use bayeux::BayeuxConfig;
pub use buffers::{BuffersConfig, UploadConfig};
pub use channel_rules::{ChannelLimits, ChannelRule};
pub use channels::{ChannelsConfig, HistoryConfig, SlowReader};
pub use client_certificates::{CertificateMode, ClientCertificates};
pub use control::{ControlConfig, Endpoint, Role, TokenConfig};
pub use control_certificates::SubjectConfig;
pub use decode::keys;
pub use edge::{AccessConfig, CompressConfig, EdgeConfig, Edit, Encoding, ErrorPage};
pub use grip::{FilterConfig, GripConfig};
pub use grip_key::Signing;
pub use health::{EjectConfig, HealthConfig};
pub use http2::Http2Limits;
pub use jsonp::{JsonpArgument, JsonpConfig};
pub use limits::{Limits, PerAddress, Rate};
pub use listen::{Certificate, ListenerConfig};
pub use log::{AccessFormat, LogConfig, LogLevel};
pub use pool::{KeepaliveConfig, PoolConfig, RetriesConfig, ServerConfig, Target, VerifyConfig};
pub use presence::{PostUrl, PresenceConfig};
pub use problem::{Fault, Place, Problem, Problems};
pub use queue::{NamedConfig, QueueConfig, SignConfig};
pub use redirect::{Carry, HTTPS_PORT, RedirectConfig};
pub use reproxy::{ReproxyConfig, UrlPattern};
pub use route::{Action, Buffer, FilesConfig, RouteConfig, Websockets};
pub use route_grip::RouteGrip;
pub use script::ScriptConfig;
pub use secret::Secret;
pub use site::{CorsConfig, SiteConfig};
pub use store::{DiskConfig, RedisConfig, RedisTls, StoreConfig, SyncTime};
pub use subject::Subject;
pub use tickets::TicketsConfig;
pub use timeouts::{DrainConfig, Timeouts};
pub use upstream_tls::{Roots, UpstreamTls};
pub use user::UserConfig;

/// A whole, checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads for ordinary work, and as many again for held connections. Default: the number of cores.
    pub threads: NonZeroUsize,
    /// Where clients reach the proxy; at least one.
    pub listen: Vec<ListenerConfig>,
    /// Where the application and operators reach the proxy; `None` leaves the control port away.
    pub control: Option<ControlConfig>,
    /// Pools by name.
    pub pools: BTreeMap<String, PoolConfig>,
    /// Sites in the order of the file.
    pub sites: Vec<SiteConfig>,
    /// What channels keep and how holds behave where the application doesn't say.
    pub channels: ChannelsConfig,
    /// Bounds on what clients, the application and publishers may use.
    pub limits: Limits,
    /// Where bodies wait for somebody slower.
    pub buffers: BuffersConfig,
    /// The clocks of a request.
    pub timeouts: Timeouts,
    /// What clients come back with.
    pub tickets: TicketsConfig,
    /// Whose coming and going is watched; the first entry that fits a channel is its own.
    pub presence: Vec<PresenceConfig>,
    /// How applications that speak GRIP know the proxy.
    pub grip: Option<GripConfig>,
    /// How the proxy leaves.
    pub drain: DrainConfig,
    /// Where channels are kept.
    pub store: StoreConfig,
    /// Logs.
    pub log: LogConfig,
    /// Peers whose `X-Forwarded-*` is believed and extended.
    pub trusted_proxies: Vec<IpNet>,
    /// Who the process becomes once its addresses are bound; `None` stays who started it.
    pub user: Option<UserConfig>,
    /// How long a thread may stand still before the process ends; `None` is `off`.
    pub watchdog: Option<Duration>,
}

impl Config {
    /// Reads a file, with the variables of this process's environment.
    ///
    /// # Errors
    /// Every problem of the file; what can't be read or isn't YAML hides the rest.
    pub fn load(path: &Path) -> Result<Config, Problems> {
        let name = path.display().to_string();
        let text = file::read(path).map_err(Problem::of_file).and_then(tree::text);
        let text = text.map_err(|problem| Problems::new(&name, vec![problem]))?;
        Config::parse(&name, &text, &|variable| std::env::var(variable).ok())
    }

    /// Reads the text of a file that is called `file_name` in problems. Reads the files that it names, too:
    /// certificates, keys and `${file:…}`.
    ///
    /// # Errors
    /// Every problem of the text; what isn't YAML hides the rest.
    pub fn parse(
        file_name: &str,
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Problems> {
        let mut problems = Vec::new();
        let mut root = match tree::read(text, &mut problems) {
            Ok(root) => root,
            Err(problem) => {
                problems.push(problem);
                return Err(Problems::new(file_name, problems));
            }
        };
        substitute::fill(&mut root, environment, &mut problems);
        let draft = decode::read(&root, &mut problems);
        let config = check::check(draft, &root, SystemTime::now(), &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(Problems::new(file_name, problems)) }
    }
}
