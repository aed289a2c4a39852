//! Who may come in, by address: `deny` before `allow`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::AccessConfig;

/// Two lists of networks.
pub struct Access {
    allow: Box<[IpNet]>,
    deny: Box<[IpNet]>,
}

impl Access {
    /// As configured.
    pub fn new(config: &AccessConfig) -> Access {
        Access { allow: config.allow.as_slice().into(), deny: config.deny.as_slice().into() }
    }

    /// Whether this client may come in: nobody who is denied, and where some are allowed, only those.
    pub fn admits(&self, client: IpAddr) -> bool {
        let is_in = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&client));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_counts_before_allow_and_allow_shuts_out_the_rest() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let table: [(&[&str], &[&str], &str, bool); 9] = [
            (&[], &[], "192.0.2.1", true),
            (&["10.0.0.0/8"], &[], "10.1.2.3", true),
            (&["10.0.0.0/8"], &[], "192.0.2.1", false),
            (&[], &["10.0.0.0/8"], "10.1.2.3", false),
            (&[], &["10.0.0.0/8"], "192.0.2.1", true),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3", false),
            (&["10.1.0.0/16"], &["10.0.0.0/8"], "10.1.2.3", false),
            (&["2001:db8::/32"], &[], "2001:db8::7", true),
            (&["0.0.0.0/0"], &[], "2001:db8::7", false),
        ];
        for (allow, deny, client, admitted) in table {
            let access = Access::new(&AccessConfig { allow: nets(allow), deny: nets(deny) });
            assert_eq!(access.admits(client.parse().unwrap()), admitted, "{allow:?} {deny:?} {client}");
        }
    }
}
