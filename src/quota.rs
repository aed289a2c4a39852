//! How much one address may take: connections and holds at once, and requests in a time.
//!
//! An IPv6 client has a whole network to choose addresses from, so that one of them counts as its /64 does. What is known
//! of an address is forgotten when its last connection has gone, or when it has been quiet for longer than most: what is
//! remembered of requests has a bound, past which the quiet half goes, which lets those begin anew.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::Mutex;
use prometheus::IntCounter;

use crate::config::{Config, PerAddress};
use crate::metrics::Metrics;

/// Parts of a table that are locked apart: more than there are threads that meet in it.
const SHARDS: usize = 16;

/// The counts of all addresses, shared by all threads.
pub struct Quota {
    terms: ArcSwap<Terms>,
    /// Odd, and nobody else's: which part an address is in.
    spread: u128,
    /// Connections that are open, those of held clients included; an address without any has no entry.
    connections: [Mutex<HashMap<Address, usize>>; SHARDS],
    /// Those of them that are held, by the client's real address.
    holds: [Mutex<HashMap<Address, usize>>; SHARDS],
    requests: [Mutex<Requests>; SHARDS],
    /// What times are counted from.
    began: Instant,
    forgotten: IntCounter,
}

/// What the configuration allows.
struct Terms {
    connections: Option<usize>,
    holds: Option<usize>,
    /// Nobody in these is counted.
    except: Vec<IpNet>,
}

/// How many requests an address may send, and what is remembered for it.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Between two requests, in the long run.
    interval: Duration,
    /// How far ahead of that an address may be.
    ahead: Duration,
    /// Addresses that are remembered in each generation of a shard.
    remembered: usize,
}

/// An address as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Address(u128);

impl Address {
    fn of(ip: IpAddr) -> Address {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Address(v4.to_ipv6_mapped().to_bits()),
            // The lower half is the client's own choice (RFC 4291 §2.5.1).
            IpAddr::V6(v6) => Address(v6.to_bits() >> 64 << 64),
        }
    }
}

/// When the next request of an address is due, in nanoseconds from the beginning: one number for each, in two generations.
/// Whoever asks moves into the younger one; when that is full, the older one goes with those who haven't asked since.
#[derive(Default)]
struct Requests {
    young: HashMap<Address, u64>,
    old: HashMap<Address, u64>,
}

impl Requests {
    fn due(&mut self, address: Address, remembered: usize) -> (&mut u64, usize) {
        let mut forgotten = 0;
        if self.young.len() >= remembered && !self.young.contains_key(&address) {
            let known = self.old.remove(&address);
            forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young)).len();
            self.young.extend(known.map(|known| (address, known)));
        }
        let old = &mut self.old;
        let due = self.young.entry(address).or_insert_with(|| old.remove(&address).unwrap_or_default());
        (due, forgotten)
    }
}

/// A connection, or a hold, counted for its address, until dropped.
pub struct Guest {
    quota: Arc<Quota>,
    address: Address,
    kind: Kind,
    /// The same connection counted for something else.
    with: Option<Box<Guest>>,
}

/// What an address is counted for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Connection,
    Hold,
}

impl Guest {
    /// Keeps another count of the same connection as long as this one.
    pub fn along_with(&mut self, other: Option<Box<Guest>>) {
        self.with = other;
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Guest").field(&self.address).finish()
    }
}

impl Pace {
    /// As configured; `None` where requests aren't counted.
    pub fn new(config: &PerAddress) -> Option<Pace> {
        let rate = config.requests?;
        let interval = rate.per / rate.count.get();
        let burst = config.burst.unwrap_or(rate.count);
        let remembered = (config.addresses / SHARDS / 2).max(1);
        Some(Pace { interval, ahead: interval.saturating_mul(burst.get()), remembered })
    }
}

impl Quota {
    /// As configured, with nobody counted yet.
    pub fn new(config: &Config, metrics: &Metrics) -> Arc<Quota> {
        Arc::new(Quota {
            terms: ArcSwap::from_pointee(Terms::new(config)),
            spread: fastrand::u128(..) | 1,
            connections: Default::default(),
            holds: Default::default(),
            requests: Default::default(),
            began: Instant::now(),
            forgotten: metrics.addresses_forgotten.clone(),
        })
    }

    /// Takes another configuration; what was counted stays.
    pub fn reconfigure(&self, config: &Config) {
        self.terms.store(Arc::new(Terms::new(config)));
    }

    /// Counts a connection. `None` where connections aren't counted, or those of this address.
    ///
    /// # Errors
    /// The address has as many as it may.
    pub fn connect(self: &Arc<Quota>, ip: IpAddr) -> Result<Option<Box<Guest>>, Full> {
        let terms = self.terms.load();
        match terms.connections.filter(|_| !terms.excepts(ip)) {
            Some(limit) => self.enter(Kind::Connection, Address::of(ip), limit).map(Some).ok_or(Full),
            None => Ok(None),
        }
    }

    /// Counts a hold. `None` where holds aren't counted, or those of this address.
    ///
    /// # Errors
    /// The address has as many as it may.
    pub fn hold(self: &Arc<Quota>, ip: IpAddr) -> Result<Option<Box<Guest>>, Full> {
        let terms = self.terms.load();
        match terms.holds.filter(|_| !terms.excepts(ip)) {
            Some(limit) => self.enter(Kind::Hold, Address::of(ip), limit).map(Some).ok_or(Full),
            None => Ok(None),
        }
    }

    /// The same for a connection that was counted until now and is never refused.
    pub fn keep(self: &Arc<Quota>, ip: IpAddr) -> Option<Box<Guest>> {
        let terms = self.terms.load();
        terms.connections.filter(|_| !terms.excepts(ip))?;
        self.enter(Kind::Connection, Address::of(ip), usize::MAX)
    }

    fn enter(self: &Arc<Quota>, kind: Kind, address: Address, limit: usize) -> Option<Box<Guest>> {
        let mut counts = self.counts(kind, address).lock();
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Box::new(Guest { quota: self.clone(), address, kind, with: None }))
    }

    fn counts(&self, kind: Kind, address: Address) -> &Mutex<HashMap<Address, usize>> {
        let counts = match kind {
            Kind::Connection => &self.connections,
            Kind::Hold => &self.holds,
        };
        self.shard(counts, address)
    }

    /// Counts a request.
    ///
    /// # Errors
    /// It is one too many; how long the address has to wait for the next.
    pub fn request(&self, pace: &Pace, ip: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.terms.load().excepts(ip) {
            return Ok(());
        }
        let address = Address::of(ip);
        let now = nanoseconds(now.duration_since(self.began));
        let (interval, ahead) = (nanoseconds(pace.interval), nanoseconds(pace.ahead));
        let mut requests = self.shard(&self.requests, address).lock();
        let (due, forgotten) = requests.due(address, pace.remembered);
        if forgotten > 0 {
            self.forgotten.inc_by(forgotten as u64);
        }
        let next = (*due).max(now).saturating_add(interval);
        match next.checked_sub(now.saturating_add(ahead)) {
            None | Some(0) => {
                *due = next;
                Ok(())
            }
            Some(wait) => Err(Duration::from_nanos(wait)),
        }
    }

    fn shard<'s, T>(&self, shards: &'s [Mutex<T>; SHARDS], address: Address) -> &'s Mutex<T> {
        // Addresses are chosen by clients, so the factor is one that they don't know. That those of one part could be found
        // makes its lock busy at worst: the table in it has a hash with a key.
        &shards[(address.0.wrapping_mul(self.spread) >> 64) as usize % SHARDS]
    }
}

/// The address has as many as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Terms {
    fn new(config: &Config) -> Terms {
        // A proxy stands for many clients, which are counted by their own addresses.
        let except =
            config.limits.per_address.except.iter().chain(&config.trusted_proxies).copied().collect();
        let PerAddress { connections, holds, .. } = config.limits.per_address;
        Terms { connections, holds, except }
    }

    fn excepts(&self, ip: IpAddr) -> bool {
        self.except.iter().any(|net| net.contains(&ip))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.quota.counts(self.kind, self.address).lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::Rate;

    fn config(per_address: &str) -> Config {
        let text = format!(
            "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\ntrusted_proxies: 10.0.0.1\n\
             limits: {{ per_address: {{ {per_address} }} }}\n"
        );
        Config::parse("quota.yaml", &text, &|_| None).unwrap()
    }

    fn quota(per_address: &str) -> (Arc<Quota>, Option<Pace>) {
        let config = config(per_address);
        (Quota::new(&config, &Metrics::new().unwrap()), Pace::new(&config.limits.per_address))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_connections_and_its_network_counts_as_one() {
        let (quota, _) = quota("connections: 2, except: 192.0.2.0/24");
        let first = quota.connect(ip("2001:db8::1")).unwrap();
        let second = quota.connect(ip("2001:db8::2")).unwrap();
        assert_eq!(quota.connect(ip("2001:db8::3")).unwrap_err(), Full);
        let back = quota.keep(ip("2001:db8::3"));
        drop((first, back));
        let third = quota.connect(ip("2001:db8::4")).unwrap();
        assert!(quota.connect(ip("2001:db8::4")).is_err());
        let other = quota.connect(ip("2001:db8:0:1::1")).unwrap();
        assert!([&second, &third, &other].into_iter().all(Option::is_some));
        for free in ["192.0.2.7", "10.0.0.1"] {
            assert!((0..3).all(|_| quota.connect(ip(free)).unwrap().is_none()), "{free}");
        }
        drop((second, third, other));
        assert!(
            quota.connections.iter().all(|shard| shard.lock().is_empty()),
            "nothing is left of those who left"
        );
    }

    #[test]
    fn holds_are_counted_beside_connections_and_both_go_together() {
        let (quota, _) = quota("connections: 2, holds: 1");
        let (client, other) = (ip("192.0.2.7"), ip("192.0.2.8"));
        let connection = quota.connect(client).unwrap();
        let mut hold = quota.hold(client).unwrap().expect("holds are counted");
        assert_eq!(quota.hold(client).unwrap_err(), Full);
        assert!(quota.hold(other).unwrap().is_some());
        hold.along_with(connection);
        drop(hold);
        let counts = quota.connections.iter().chain(&quota.holds);
        assert!(counts.into_iter().all(|shard| shard.lock().is_empty()), "nothing is left of those who left");
        assert!(quota.hold(client).is_ok());
    }

    #[test]
    fn a_mapped_address_is_the_one_that_it_maps() {
        assert_eq!(Address::of(ip("::ffff:192.0.2.7")), Address::of(ip("192.0.2.7")));
        assert_ne!(Address::of(ip("192.0.2.8")), Address::of(ip("192.0.2.7")));
    }

    #[test]
    fn requests_come_at_a_pace_after_a_burst_and_whoever_is_too_fast_is_told_how_long() {
        let (quota, pace) = quota("requests: 10/s, burst: 3");
        let pace = pace.unwrap();
        let start = Instant::now();
        let ask = |milliseconds: u64| {
            let now = start + Duration::from_millis(milliseconds);
            quota.request(&pace, ip("192.0.2.7"), now).map_err(|wait| wait.as_millis())
        };
        assert_eq!([ask(0), ask(0), ask(0), ask(0)], [Ok(()), Ok(()), Ok(()), Err(100)]);
        assert_eq!([ask(40), ask(100), ask(100)], [Err(60), Ok(()), Err(100)]);
        // A refusal costs nothing, and a pause gives the burst back, but no more.
        assert_eq!([ask(5000), ask(5000), ask(5000), ask(5000)], [Ok(()), Ok(()), Ok(()), Err(100)]);
        assert_eq!(
            quota.request(&pace, ip("192.0.2.8"), start),
            Ok(()),
            "another address has a pace of its own"
        );
    }

    #[test]
    fn a_crowd_of_addresses_is_forgotten_from_its_quiet_end() {
        let (quota, pace) = quota("requests: 1/h, burst: 1, addresses: 64");
        let pace = pace.unwrap();
        let now = Instant::now();
        let busy = ip("192.0.2.7");
        assert!(quota.request(&pace, busy, now).is_ok());
        for number in 0..10_000_u32 {
            assert!(quota.request(&pace, IpAddr::from((number << 8 | 1).to_be_bytes()), now).is_ok());
            assert!(quota.request(&pace, busy, now).is_err(), "who goes on asking is remembered");
        }
        let known = |shard: &Mutex<Requests>| {
            let Requests { young, old } = &*shard.lock();
            young.len() + old.len()
        };
        let known: usize = quota.requests.iter().map(known).sum();
        assert!(known <= 64, "{known}");
        assert!(quota.forgotten.get() > 9000);
    }

    #[test]
    fn without_a_burst_there_is_one_of_the_rate() {
        let rate = Rate { count: NonZeroU32::new(600).unwrap(), per: Duration::from_secs(60) };
        let config = PerAddress { requests: Some(rate), ..PerAddress::default() };
        let pace = Pace::new(&config).unwrap();
        assert_eq!((pace.interval, pace.ahead), (Duration::from_millis(100), Duration::from_secs(60)));
        assert!(Pace::new(&PerAddress::default()).is_none());
    }
}
