//! Where the server is that takes writes: the only one, the first of several that says so, or the one that Sentinel names.

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    TlsCertificates,
};

use super::RedisSettings;
use super::link::PATIENCE;

/// The addresses that may lead there.
pub(super) struct Whereabouts {
    servers: Vec<Client>,
    sentinels: Vec<Client>,
    tls: Option<TlsCertificates>,
}

/// A connection to the server that takes writes.
pub(super) struct Master {
    pub(super) connection: Connection,
    address: ConnectionAddr,
}

impl Whereabouts {
    pub(super) fn new(settings: &RedisSettings) -> Result<Whereabouts, RedisError> {
        let RedisSettings { urls, sentinels, tls, .. } = settings;
        let clients = |urls: &[String]| -> Result<Vec<Client>, RedisError> {
            urls.iter().map(|url| client(url.as_str().into_connection_info()?, tls)).collect()
        };
        Ok(Whereabouts { servers: clients(urls)?, sentinels: clients(sentinels)?, tls: tls.clone() })
    }

    /// Connects, to each in turn until one is right.
    pub(super) fn connect(&self) -> Result<Master, RedisError> {
        match (self.servers.as_slice(), self.sentinels.is_empty()) {
            // Whoever names one server means it, and it may be a proxy that knows no roles.
            ([server], true) => Master::at(server),
            (servers, true) => first(servers.iter().map(Master::that_says_so)),
            (_, false) => {
                let named = self.sentinels.iter().map(|sentinel| self.named_by(sentinel));
                first(named.map(|server| Master::that_says_so(&server?)))
            }
        }
    }

    /// Whether the server is somewhere else by now, or is no master any more. Where nobody can say, it is where it was.
    pub(super) fn has_left(&self, master: &mut Master) -> bool {
        if self.servers.len() == 1 && self.sentinels.is_empty() {
            return false;
        }
        let named = self.sentinels.iter().find_map(|sentinel| self.named_by(sentinel).ok());
        let is_elsewhere = named.is_some_and(|server| *server.get_connection_info().addr() != master.address);
        is_elsewhere || says_master(&mut master.connection).is_ok_and(|says| !says)
    }

    /// Asks a sentinel. The name and what else is needed to speak to the server stand in its URL.
    fn named_by(&self, sentinel: &Client) -> Result<Client, RedisError> {
        let Some(known) = self.servers.first().map(Client::get_connection_info) else {
            return Err(nobody("no name"));
        };
        let (name, is_plain) = match known.addr() {
            ConnectionAddr::Tcp(name, _) => (name, true),
            ConnectionAddr::TcpTls { host, .. } => (host, false),
            _ => return Err(nobody("no name")),
        };
        let mut connection = open(sentinel)?;
        let named: Option<(String, u16)> =
            redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).query(&mut connection)?;
        let (host, port) = named.ok_or_else(|| nobody("Sentinel knows no server of this name"))?;
        let address = match is_plain {
            true => ConnectionAddr::Tcp(host, port),
            false => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        client(known.clone().set_addr(address), &self.tls)
    }
}

impl Master {
    fn at(server: &Client) -> Result<Master, RedisError> {
        let address = server.get_connection_info().addr().clone();
        Ok(Master { connection: open(server)?, address })
    }

    /// A replica shows what it has got, and refuses what is written.
    fn that_says_so(server: &Client) -> Result<Master, RedisError> {
        let mut master = Master::at(server)?;
        match says_master(&mut master.connection)? {
            true => Ok(master),
            false => Err(nobody("this server is a replica")),
        }
    }
}

/// The first that is there; else what is wrong with the last.
fn first(masters: impl Iterator<Item = Result<Master, RedisError>>) -> Result<Master, RedisError> {
    let mut last = nobody("there is no address");
    for master in masters {
        match master {
            Ok(master) => return Ok(master),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn client(info: ConnectionInfo, tls: &Option<TlsCertificates>) -> Result<Client, RedisError> {
    match (info.addr(), tls) {
        (ConnectionAddr::TcpTls { .. }, Some(tls)) => Client::build_with_tls(info, tls.clone()),
        _ => Client::open(info),
    }
}

fn open(client: &Client) -> Result<Connection, RedisError> {
    let connection = client.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn says_master(connection: &mut Connection) -> Result<bool, RedisError> {
    // The rest of the answer differs between roles.
    let role: Vec<redis::Value> = redis::cmd("ROLE").query(connection)?;
    let word = role.into_iter().next().ok_or_else(|| nobody("a server says no role"))?;
    Ok(redis::from_redis_value::<String>(word)? == "master")
}

fn nobody(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, why))
}
