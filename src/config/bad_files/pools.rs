//! Bad files with faults in pools.

use super::Bad;

pub(super) const BAD: &[Bad] = &[
    Bad {
        text: r"listen: 127.0.0.1:80
pools:
  a: { servers: https://a, tls: { ca: [/nowhere/ca.pem], name: 'a b', verify: yes, key: /nowhere/a.key } }
  b: { servers: https://b, tls: { certificate: /nowhere/b.pem } }
sites: { '*': a }
",
        problems: &[
            r"3:40: `/nowhere/ca.pem` can't be read: No such file or directory (os error 2)",
            r"3:64: `name` can't be `a b` (expected a host name or an IP address such as app.internal)",
            r"3:79: `verify` can't be `yes` (expected on, or `off`)",
            r"3:89: `certificate` is missing (expected the path of a file)",
            r"4:48: `/nowhere/b.pem` can't be read: No such file or directory (os error 2)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app:
    servers: http://a:1
    reproxy: {urls: [http://a/, 10.0.0.1/8, 'a:b'], files: [srv, /dev/null], sites: [b.org, a.or], cache: 0}
sites: {a.org: app}
",
        problems: &[
            r#"5:22: `urls` can't be `http://a/` (expected a host such as media.example, "*.example.com" or "*", an IP address or a network such as 10.0.0.0/8; a host and an address may have a port)"#,
            r#"5:33: `urls` can't be `10.0.0.1/8` (expected a host such as media.example, "*.example.com" or "*", an IP address or a network such as 10.0.0.0/8; a host and an address may have a port; did you mean `10.0.0.0/8`?)"#,
            r#"5:45: `urls` can't be `a:b` (expected a host such as media.example, "*.example.com" or "*", an IP address or a network such as 10.0.0.0/8; a host and an address may have a port)"#,
            r"5:61: `files` can't be `srv` (expected the path of a folder that exists, from the root)",
            r"5:66: `files` can't be `/dev/null` (expected the path of a folder that exists, from the root)",
            r"5:85: there is no site `b.org` (expected a key of `sites`; did you mean `a.org`?)",
            r"5:85: there is no site `a.or` (expected a key of `sites`; did you mean `a.org`?)",
            r"5:107: `cache` can't be `0` (expected a whole number from 1, or `off` for none; did you mean `off`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app:
    servers: http://127.0.0.1:8000
    eject: 5
    health: {interval: 0s, host: a b, rise: 0}
    resolve: 0s
  b: {servers: http://127.0.0.1:8001, eject: {faults: 0, time: 5}, health: up}
sites: {x.example: app}
",
        problems: &[
            r"5:12: `eject` can't be `5` (expected `off`, or a mapping)",
            r"6:13: `path` is missing (expected a path such as /up, with a query or without)",
            r"6:24: `interval` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d)",
            r"6:34: `host` can't be `a b` (expected a host such as example.com, with a port or without)",
            r"6:45: `rise` can't be `0` (expected a whole number from 1)",
            r"7:14: `resolve` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for never; did you mean `off`?)",
            r"8:55: `faults` can't be `0` (expected a whole number from 1)",
            r"8:64: `time` can't be `5` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d; did you mean `5s`?)",
            r"8:76: `health` can't be `up` (expected a path such as /up, with a query or without)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app:
    servers: http://127.0.0.1:8000
    keepalive: {requests: 0}
    connect_ahead: 0
    verify: DELETE /up
    retries: {attempts: no, share: 20, floor: -1}
    error_retries: [1, 2s]
  b: {servers: http://127.0.0.1:8001, verify: GET *, retries: {share: 101%}}
sites: {x.example: app}
",
        problems: &[
            r"5:27: `requests` can't be `0` (expected a whole number from 1, or `off` for no limit; did you mean `off`?)",
            r"6:20: `connect_ahead` can't be `0` (expected a whole number from 1, or `off` for none; did you mean `off`?)",
            r"7:13: `verify` can't be `DELETE /up` (expected a method and a path such as `OPTIONS /up`, `OPTIONS *`, `HEAD /up` or `GET /up`)",
            r"8:25: `attempts` can't be `no` (expected a whole number from 1, or `off` for none; did you mean `off`?)",
            r"8:36: `share` can't be `20` (expected a share from 0% to 100%; did you mean `20%`?)",
            r"8:47: `floor` can't be `-1` (expected a whole number)",
            r"9:21: `error_retries` can't be `1` (expected a duration such as 250ms, 5s, 10m, 1h or 2d; did you mean `1s`?)",
            r"10:47: `verify` can't be `GET *` (expected a method and a path such as `OPTIONS /up`, `OPTIONS *`, `HEAD /up` or `GET /up`)",
            r"10:71: `share` can't be `101%` (expected a share from 0% to 100%)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app:
    servers: http://127.0.0.1:8000
    queue: {high: [{}, {cokie: vip}], low: [{cookie: a b}, vip], relief: 0}
sites: {x.example: app}
",
        problems: &[
            r"5:20: `high` is a mapping (expected cookie, header, path or peer)",
            r"5:25: unknown key `cokie` (expected cookie, header, path or peer; did you mean `cookie`?)",
            r"5:54: `cookie` can't be `a b` (expected the name of a cookie, or a name and its value such as tier=gold)",
            r"5:60: `low` is text (expected a mapping with cookie, header, path and peer)",
            r"5:74: `relief` can't be `0` (expected a whole number from 1, or `off` for no limit; did you mean `off`?)",
        ],
    },
];
