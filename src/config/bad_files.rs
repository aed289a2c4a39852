//! Bad files, and the exact words that each of them is answered with.

use proptest::prelude::*;

use super::Config;

/// What a file says, and every problem of it without the name of the file.
struct Bad {
    text: &'static str,
    problems: &'static [&'static str],
}

#[test]
fn a_bad_file_is_answered_with_every_place_and_what_was_expected() {
    let environment = |name: &str| (name == "LEVEL").then(|| "a\u{1b}b".to_owned());
    for Bad { text, problems } in BAD {
        let said = Config::parse("bad.yaml", text, &environment).map(|_| ()).map_err(|all| all.to_string());
        let expected: Vec<String> = problems.iter().map(|problem| format!("bad.yaml:{problem}")).collect();
        assert_eq!(said, Err(expected.join("\n")), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_answered_with_places_inside_it(
        start in 0_usize..600,
        noise in "[-a-z0-9:,{}\\[\\]'\"#&*!|>%@$~?é\t\n\r\u{0}\u{feff} ]{0,24}",
        left_out in 0_usize..40,
    ) {
        let full: Vec<char> = include_str!("../../config/pools.yaml").chars().collect();
        let (before, after) = full.split_at(start.min(full.len()));
        let text: String = before.iter().copied().chain(noise.chars()).chain(after.iter().skip(left_out).copied()).collect();
        if let Err(problems) = Config::parse("bad.yaml", &text, &|_| None) {
            let lines = text.lines().count() + 1;
            for place in problems.iter().filter_map(|problem| problem.place) {
                prop_assert!((1..=lines).contains(&place.line) && place.column >= 1, "{place:?}");
            }
        }
    }
}

const BAD: &[Bad] = &[
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
    Bad { text: r"", problems: &[r" the file says nothing (expected at least `listen` and `upstream`)"] },
    Bad {
        text: r"just text
",
        problems: &[r"1:1: the file is no mapping (expected keys with values, as in `listen: 127.0.0.1:80`)"],
    },
    Bad {
        text: r"- listen
",
        problems: &[r"1:1: the file is no mapping (expected keys with values, as in `listen: 127.0.0.1:80`)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
---
listen: x
",
        problems: &[r"2:1: a second YAML document begins here (expected one)"],
    },
    Bad {
        text: "listen:\n\t- 127.0.0.1:80\n",
        problems: &[r"2:1: this is not YAML: a tab indents (expected spaces)"],
    },
    Bad {
        text: "listen: 127.0.0.1:80\n\tupstream: http://a:1\n",
        problems: &[r"2:1: this is not YAML: a tab indents (expected spaces)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
sites: {a: {b: c}
",
        problems: &[r"4:1: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'"],
    },
    Bad {
        text: r"listen: [127.0.0.1:80
upstream: x
",
        problems: &[
            r"2:9: this is not YAML: illegal placement of ':' indicator (expected a `]` or `}` that closes what was opened before)",
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
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
log: level: info
",
        problems: &[
            r"3:11: this is not YAML: mapping values are not allowed in this context (expected a space after the colon of a key, and quotes round a value that holds `: `)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  *.example.com: app
",
        problems: &[
            r#"5:3: this is not YAML: while parsing node, found unknown anchor (expected names that begin with `*` in quotes, as in "*.example.com")"#,
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites: {a: ${POOL:-app}}
",
        problems: &[
            r"4:13: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}' (expected quotes round `${…}` inside `[ ]` and `{ }`)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
log: &l {level: info}
drain: *l
",
        problems: &[
            r"3:6: anchors mean nothing in a configuration (expected plain values)",
            r"4:8: aliases mean nothing in a configuration (expected plain values)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
threads: !!int 4
",
        problems: &[r"3:10: tags mean nothing in a configuration (expected plain values)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
? [a]
: b
",
        problems: &[r"3:3: a key has to be text (expected one word)"],
    },
    Bad {
        text: r"a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
",
        problems: &[r"1:36: nested too deep (expected at most 32 levels)"],
    },
    Bad {
        text: r"listen: [{address: 127.0.0.1:0, proxy_protocol: [10.0.0.1/8, on]}, {address: 127.0.0.1:0, proxy_protocol: []}]
upstream: http://127.0.0.1:8000
",
        problems: &[
            r"1:50: `proxy_protocol` can't be `10.0.0.1/8` (expected an IP address or a network such as 10.0.0.0/8; did you mean `10.0.0.0/8`?)",
            r"1:62: `proxy_protocol` can't be `on` (expected an IP address or a network such as 10.0.0.0/8)",
            r"1:107: `proxy_protocol` is empty (expected at least one)",
        ],
    },
    Bad {
        text: r#"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  a.org:
    https: on
    canonical: b.org
    allow: []
    headers:
      request: { set: { Connection: close, Host: a }, add: { Host: b, "X Y": z }, remove: [X-Comet-Proxy, via] }
      response: { set: { X-A: "a\nb" }, add: { X-A: [] }, edit: {} }
    errors: { 200: /x.html, 503: /there/is/none.html }
    compress: { encodings: [deflate, gzp], min_size: 5, types: [text], level: 9 }
    routes:
      - { path: /a, redirect: //evil.org, pool: app }
      - { path: /b, redirect: { status: 304, carry: all } }
      - { path: /c, redirect: { to: "/x?y", carry: rest } }
      - { path: /d, redirect: { to: /x, carry: whole }, deny: 10.0.0.300 }
"#,
        problems: &[
            r"6:12: `https` can't be `on` (expected redirect, or `off`)",
            r"7:16: `canonical` can't be `b.org` (expected one host that the site answers for)",
            r"8:12: `allow` is empty (expected at least one)",
            r"10:25: `set` can't hold the name `Connection` (expected the name of a header that isn't of the connection, its framing or the proxy)",
            r"10:62: `add` can't hold the name `Host` (expected the name of a header that isn't of the connection, its framing or the proxy)",
            r"10:71: `add` can't hold the name `X Y` (expected the name of a header that isn't of the connection, its framing or the proxy)",
            r"10:92: `remove` can't be `X-Comet-Proxy` (expected the name of a header that isn't of the connection, its framing or the proxy)",
            r"10:107: `remove` can't be `via` (expected the name of a header that isn't of the connection, its framing or the proxy)",
            r"11:31: `X-A` can't be `a\nb` (expected the value of a header: visible characters, and spaces between them)",
            r"11:53: `X-A` is empty (expected at least one)",
            r"11:59: unknown key `edit` (expected set, add or remove)",
            r"12:15: `errors` can't hold the name `200` (expected a status from 400 to 599)",
            r"12:34: `/there/is/none.html` can't be read: No such file or directory (os error 2)",
            r"13:29: `encodings` can't be `deflate` (expected zstd, br or gzip)",
            r"13:38: `encodings` can't be `gzp` (expected zstd, br or gzip; did you mean `gzip`?)",
            r"13:54: `min_size` can't be `5` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB; did you mean `5B`?)",
            r"13:65: `types` can't be `text` (expected a media type such as application/json or text/*)",
            r"13:72: unknown key `level` (expected encodings, min_size or types)",
            r"15:31: `redirect` can't be `//evil.org` (expected a URL such as https://example.com/new, or a path)",
            r"15:31: `redirect` can't stand beside `pool`, since a route leads to one place (expected one of them)",
            r"16:31: `to` is missing (expected a URL such as https://example.com/new, or a path)",
            r"16:41: `status` can't be `304` (expected 301, 302, 303, 307 or 308)",
            r"16:53: `carry` can't be `all` (expected off, whole or rest)",
            r"17:37: `to` can't be `/x?y` (expected a URL that ends with its path, for `carry` to go on)",
            r"18:63: `deny` can't be `10.0.0.300` (expected an IP address or a network such as 10.0.0.0/8)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
limits: { per_address: { connections: 0, requests: 5/d, burst: 0, except: [a], rate: 5 } }
",
        problems: &[
            r"3:39: `connections` can't be `0` (expected a whole number from 1, or `off` for no limit; did you mean `off`?)",
            r"3:52: `requests` can't be `5/d` (expected a number in a time such as 50/s, 600/m or 1000/h, or `off` for no limit)",
            r"3:64: `burst` can't be `0` (expected a whole number from 1)",
            r"3:76: `except` can't be `a` (expected an IP address or a network such as 10.0.0.0/8)",
            r"3:80: unknown key `rate` (expected connections, requests, burst, addresses or except)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
lisen: 127.0.0.1:80
",
        problems: &[
            r"3:1: unknown key `lisen` (expected listen, control, upstream, pools, sites, channels, limits, buffers, timeouts, tickets, drain, log, trusted_proxies, threads or store; did you mean `listen`?)",
        ],
    },
    Bad {
        text: r#"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
limits: {held_conections: 5, "request_heders": 3}
"#,
        problems: &[
            r"3:10: unknown key `held_conections` (expected connections, per_address, held_connections, new_holds, request_header, request_headers, request_target, request_body, hold_body, hold_channels, message, batch, channels, history_bytes, publish_body, bayeux_sessions or turn_bytes; did you mean `held_connections`?)",
            r"3:30: unknown key `request_heders` (expected connections, per_address, held_connections, new_holds, request_header, request_headers, request_target, request_body, hold_body, hold_channels, message, batch, channels, history_bytes, publish_body, bayeux_sessions or turn_bytes; did you mean `request_headers`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
grip: {key: x}
",
        problems: &[
            r"3:1: unknown key `grip` (expected listen, control, upstream, pools, sites, channels, limits, buffers, timeouts, tickets, drain, log, trusted_proxies, threads or store)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
pools: {}
",
        problems: &[
            r"2:11: `upstream` can't stand beside `pools`, which says the same in another way (expected one of them)",
            r"3:8: `pools` is empty (expected at least one)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
log: {level: info, level: debug}
",
        problems: &[r"3:20: key `level` is given twice, first on line 3 (expected each key once)"],
    },
    Bad {
        text: r"upstream: http://127.0.0.1:8000
",
        problems: &[
            r"1:1: `listen` is missing (expected an IP address and a port such as 127.0.0.1:8080 or [::]:443)",
        ],
    },
    Bad {
        text: r"listen:
upstream: http://127.0.0.1:8000
",
        problems: &[
            r"1:1: `listen` has no value (expected an IP address and a port such as 127.0.0.1:8080 or [::]:443, or a mapping with address, tls and proxy_protocol)",
        ],
    },
    Bad {
        text: r"listen: []
upstream: []
",
        problems: &[
            r"1:9: `listen` is empty (expected at least one)",
            r"2:11: `upstream` is empty (expected at least one)",
        ],
    },
    Bad {
        text: r"listen: 8080
upstream: 8000
",
        problems: &[
            r"1:9: `listen` can't be `8080` (expected an IP address and a port such as 127.0.0.1:8080 or [::]:443; did you mean `0.0.0.0:8080`?)",
            r"2:11: `upstream` can't be `8000` (expected http://host:port without a path, or unix:/run/app.sock)",
        ],
    },
    Bad {
        text: r"listen: {address: localhost:80, tls: []}
upstream: https://app
",
        problems: &[
            r"1:19: `address` can't be `localhost:80` (expected an IP address and a port such as 127.0.0.1:8080 or [::]:443; did you mean `127.0.0.1:80`?)",
            r"1:38: `tls` is empty (expected at least one)",
            r"2:11: `upstream` can't be `https://app` (expected http://host:port without a path, or unix:/run/app.sock)",
        ],
    },
    Bad {
        text: r"listen:
  - 127.0.0.1:80
  - address: 127.0.0.1:80
  - [a]
upstream: http://a:1
control: 127.0.0.1:80
",
        problems: &[
            r"3:14: address `127.0.0.1:80` is given twice, first on line 2 (expected another port)",
            r"4:5: `listen` is a list (expected an IP address and a port such as 127.0.0.1:8080 or [::]:443, or a mapping with address, tls and proxy_protocol)",
            r"6:10: address `127.0.0.1:80` is given twice, first on line 2 (expected another port)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: 0.0.0.0:7070
",
        problems: &[
            r"3:10: the control port on `0.0.0.0:7070` can be reached from other machines and has no token (expected a `token`, a loopback address or a Unix socket)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: {address: 10.0.0.1:7070, token: }
",
        problems: &[r"3:35: `token` has no value (expected visible ASCII characters without spaces)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: {address: 10.0.0.1:7070, token: 'a b'}
",
        problems: &[
            r"3:42: `token` can't be used as a secret (expected visible ASCII characters without spaces)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: {token: x}
",
        problems: &[
            r"3:10: `address` is missing (expected an IP address and a port such as 127.0.0.1:7070, or unix:/run/perihelion.sock)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: unix:run/x.sock
",
        problems: &[
            r"3:10: `control` can't be `unix:run/x.sock` (expected an IP address and a port such as 127.0.0.1:7070, or unix:/run/perihelion.sock)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
",
        problems: &[
            r"1:1: nothing says where requests go (expected `upstream`, or `pools` together with `sites`)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
",
        problems: &[r"3:3: `sites` is missing (expected `upstream`, or `pools` together with `sites`)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
sites: {a: app}
",
        problems: &[r"2:8: `pools` is missing (expected `upstream`, or `pools` together with `sites`)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
sites:
  a: app
",
        problems: &[
            r"2:11: `upstream` can't stand beside `sites`, which says the same in another way (expected one of them)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites: {}
",
        problems: &[r"4:8: `sites` is empty (expected at least one)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  example.com: ap
  Example.com: app
  b.org: {aliases: [c.org, example.com], routes: [{path: /, pool: web}]}
",
        problems: &[
            r"5:16: there is no pool `ap` (expected a key of `pools`; did you mean `app`?)",
            r"6:3: host `example.com` is given twice, first on line 5 (expected each host once)",
            r"7:28: host `example.com` is given twice, first on line 5 (expected each host once)",
            r"7:67: there is no pool `web` (expected a key of `pools`)",
        ],
    },
    Bad {
        text: r#"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  a.org: { pool: app, cors: https://a.org:443 }
  b.org: { pool: app, cors: [https://a.org/, "*"] }
  c.org: { pool: app, cors: { origins: "*" } }
  d.org: { pool: app, cors: ftp://a.org }
"#,
        problems: &[
            r"5:29: `cors` can't be `https://a.org:443` (expected an origin such as https://www.example.com or http://localhost:8080, or `*` alone for any; did you mean `https://a.org`?)",
            r"6:30: `cors` can't be `https://a.org/` (expected an origin such as https://www.example.com or http://localhost:8080, or `*` alone for any; did you mean `https://a.org`?)",
            r"6:46: `cors` can't be `*` (expected an origin such as https://www.example.com or http://localhost:8080, or `*` alone for any)",
            r"7:29: `cors` is a mapping (expected an origin such as https://www.example.com or http://localhost:8080, or `*` alone for any)",
            r"8:29: `cors` can't be `ftp://a.org` (expected an origin such as https://www.example.com or http://localhost:8080, or `*` alone for any)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  a.org: app
  a.org: app
",
        problems: &[r"6:3: key `a.org` is given twice, first on line 5 (expected each key once)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  a.org: {}
  b.org: {pool: app, routes: [{path: /, pool: app}]}
  c.org: {routes: []}
  d.org:
",
        problems: &[
            r"5:3: site `a.org` has no route (expected `pool` or `routes`)",
            r"6:17: `pool` can't stand beside `routes`, which says the same in another way (expected one of them)",
            r"7:19: `routes` is empty (expected at least one)",
            r"8:3: `d.org` has no value (expected the name of a pool, or a mapping with aliases, routes, pool, https, canonical, cors, allow, deny, headers, errors and compress)",
        ],
    },
    Bad {
        text: r#"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  'a.org:80': app
  https://b.org/: app
  "b c": app
"#,
        problems: &[
            r#"5:3: `sites` can't hold the name `a.org:80` (expected a host without a port such as example.com, "*.example.com" or "*" for every host; did you mean `a.org`?)"#,
            r#"6:3: `sites` can't hold the name `https://b.org/` (expected a host without a port such as example.com, "*.example.com" or "*" for every host; did you mean `b.org`?)"#,
            r#"7:3: `sites` can't hold the name `b c` (expected a host without a port such as example.com, "*.example.com" or "*" for every host)"#,
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  a.org:
    routes:
      - {path: static, pool: app}
      - {path: /x/*, pool: app}
      - {path: /y}
      - app
      - {path: /z, pool: app}
      - {path: /z, pool: app, websocket: over-http}
      - {path: /p, pool: app, files: /}
      - {path: /q, files: /none/at/all, internal: yes}
      - {path: /r, files: {index: [a/b, .x], cache_control: é}}
      - {path: /s, files: {root: /dev/null, index: []}}
      - {path: /t, files: [/]}
      - {path: /u, bayeux: {timeout: 0s, queu: 1, per_browser: 0}, redirect: /}
      - {path: /v, bayeux: on}
",
        problems: &[
            r"7:16: `path` can't be `static` (expected the beginning of a path: a slash, no query, no spaces and no wildcard; did you mean `/static`?)",
            r"8:16: `path` can't be `/x/*` (expected the beginning of a path: a slash, no query, no spaces and no wildcard; did you mean `/x/`?)",
            r"9:9: the route leads nowhere (expected `pool`, `files`, `redirect` or `bayeux`)",
            r"10:9: `routes` is text (expected a mapping with path, pool, files, internal, buffer, request_body, redirect, bayeux, allow, deny, headers, errors and compress)",
            r"12:16: path `/z` is given twice, first on line 11 (expected each path once in a site)",
            r"12:31: unknown key `websocket` (expected path, pool, files, internal, buffer, request_body, redirect, bayeux, allow, deny, headers, errors or compress)",
            r"13:26: `pool` can't stand beside `files`, since a route leads to one place (expected one of them)",
            r"14:27: `/none/at/all` can't be read: No such file or directory (os error 2) (expected a folder)",
            r"14:51: `internal` can't be `yes` (expected true or false)",
            r"15:27: `root` is missing (expected the path of a folder)",
            r"15:36: `index` can't be `a/b` (expected the name of a file without a slash or a dot before it, or `off` for none)",
            r"15:41: `index` can't be `.x` (expected the name of a file without a slash or a dot before it, or `off` for none)",
            r"15:61: `cache_control` can't be `é` (expected the value of a header field: visible ASCII characters and spaces)",
            r"16:34: `/dev/null` is no folder (expected a folder)",
            r"16:52: `index` is empty (expected at least one)",
            r"17:27: `files` is a list (expected the path of a folder, or a mapping with root, index and cache_control)",
            r"18:28: `bayeux` can't stand beside `redirect`, since a route leads to one place (expected one of them)",
            r"18:38: `timeout` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d)",
            r"18:42: unknown key `queu` (expected timeout, interval, expiry, per_browser, poll_interval, subscriptions, queue, queue_bytes or body; did you mean `queue`?)",
            r"18:64: `per_browser` can't be `0` (expected a whole number from 1, or `off` for no limit; did you mean `off`?)",
            r"19:28: `bayeux` is text (expected a mapping with timeout, interval, expiry, per_browser, poll_interval, subscriptions, queue, queue_bytes and body)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app:
    servers: [http://a:1, a:1]
    max_connections: 0
    queue: {length: 0, timeout: 30}
    keepalive: {connections: -1, idle: 0s}
    sticky: {path: /up}
  'my pool': http://a:1
  other: {}
sites: {'*': app}
",
        problems: &[
            r"4:27: server `a:1` is given twice, first on line 4 (expected each server once in a pool)",
            r"5:22: `max_connections` can't be `0` (expected a whole number from 1, or `off` for no limit; did you mean `off`?)",
            r"6:21: `length` can't be `0` (expected a whole number from 1, or `off` for none; did you mean `off`?)",
            r"6:33: `timeout` can't be `30` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d; did you mean `30s`?)",
            r"7:30: `connections` can't be `-1` (expected a whole number from 1, or `off` for none; did you mean `off`?)",
            r"7:40: `idle` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d)",
            r"8:5: unknown key `sticky` (expected servers, max_connections, queue, keepalive, reproxy, connect_ahead, verify, eject, health, resolve, retries or error_retries)",
            r"9:3: `pools` can't hold the name `my pool` (expected the name of a pool: up to 64 letters, digits, `-`, `_` and `.`)",
            r"10:10: `servers` is missing (expected at least one server)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
limits:
  connections: none
  held_connections: 1_000_000
  request_header: 4KiB
  request_headers: off
  request_target: 1MiB
  request_body: 0B
  hold_body: 64k
  message: 1.5MB
  batch: many
  history_bytes: [1MiB]
",
        problems: &[
            r"4:16: `connections` can't be `none` (expected a whole number from 1, or `off` for no limit; did you mean `off`?)",
            r"5:21: `held_connections` can't be `1_000_000` (expected a whole number from 1, or `off` for no limit; did you mean `1000000`?)",
            r"6:19: `request_header` can't be `4KiB` (expected a size from 8KiB to 16MiB)",
            r"7:20: `request_headers` can't be `off` (expected a whole number from 1)",
            r"8:19: `request_target` can't be `1MiB` (expected a size from 1B to 65534B)",
            r"9:17: `request_body` can't be `0B` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for no limit; did you mean `off`?)",
            r"10:14: `hold_body` can't be `64k` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB; did you mean `64KiB`?)",
            r"11:12: `message` can't be `1.5MB` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB)",
            r"12:10: `batch` can't be `many` (expected a whole number from 1)",
            r"13:18: `history_bytes` is a list (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools: {app: http://127.0.0.1:8000}
sites:
  a.org: {routes: [{path: /, pool: app, buffer: both, request_body: 0}]}
buffers:
  memory: 100KiB
  request: off
  response: 256MiB
  folder: /none/at/all
  disk: 0B
  upload: {size: 64, rate: fast, time: 0s}
",
        problems: &[
            r"4:49: `buffer` can't be `both` (expected request, response, both in a list, or off)",
            r"4:69: `request_body` can't be `0` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for no limit; did you mean `off`?)",
            r"6:11: `memory` can't be `100KiB` (expected a size from 1MiB such as 64MiB, 100MB or 1GiB)",
            r"7:12: `request` can't be `off` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB)",
            r"9:11: `/none/at/all` can't be read: No such file or directory (os error 2) (expected a folder)",
            r"10:9: `disk` can't be `0B` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for none; did you mean `off`?)",
            r"11:18: `size` can't be `64` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for never; did you mean `64B`?)",
            r"11:28: `rate` can't be `fast` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for never)",
            r"11:40: `time` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for never; did you mean `off`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
buffers: {response: 256MiB}
",
        problems: &[
            r"3:21: `buffers.response` is more than `buffers.memory` (expected a lower value, or a higher `buffers.memory`)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
limits: {message: 2GiB, connections: 10, held_connections: 20}
",
        problems: &[
            r"3:19: `limits.message` is more than `limits.history_bytes` (expected a lower value, or a higher `limits.history_bytes`)",
            r"3:60: `limits.held_connections` is more than `limits.connections` (expected a lower value, or a higher `limits.connections`)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
limits: {message: 2MiB, history_bytes: 1M}
",
        problems: &[
            r"3:40: `history_bytes` can't be `1M` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB; did you mean `1MiB`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
timeouts:
  request_head: 0s
  idle: off
  body: 60
  connect: 5sec
  response: {}
",
        problems: &[
            r"4:17: `request_head` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d)",
            r"5:9: `idle` can't be `off` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d)",
            r"6:9: `body` can't be `60` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d; did you mean `60s`?)",
            r"7:12: `connect` can't be `5sec` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d; did you mean `5s`?)",
            r"8:13: `response` is a mapping (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
drain: {timeout: 5s, spread: 10s, lameduck: -1s}
",
        problems: &[
            r"3:30: `drain.spread` is more than `drain.timeout` (expected a lower value, or a higher `drain.timeout`)",
            r"3:45: `lameduck` can't be `-1s` (expected a duration such as 250ms, 5s, 10m, 1h or 2d)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
log: {access: jsn, level: verbose}
",
        problems: &[
            r"3:15: `access` can't be `jsn` (expected combined, json or off; did you mean `json`?)",
            r"3:27: `level` can't be `verbose` (expected error, warn, info, debug or trace)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
channels: {slow: drop, keepalive: 0s, history: {messages: 0, age: 5 m}}
",
        problems: &[
            r"3:18: `slow` can't be `drop` (expected close or gap)",
            r"3:35: `keepalive` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for never; did you mean `off`?)",
            r"3:59: `messages` can't be `0` (expected a whole number from 1, or `off` for none; did you mean `off`?)",
            r"3:67: `age` can't be `5 m` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for no limit; did you mean `5m`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
channels: {history: none}
",
        problems: &[
            r"3:21: `history` can't be `none` (expected a whole number from 1, or `off` for none; did you mean `off`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
trusted_proxies: [10.0.0.1/8, ::1, proxy]
threads: 0
store: {sync: group}
",
        problems: &[
            r"3:19: `trusted_proxies` can't be `10.0.0.1/8` (expected an IP address or a network such as 10.0.0.0/8; did you mean `10.0.0.0/8`?)",
            r"3:36: `trusted_proxies` can't be `proxy` (expected an IP address or a network such as 10.0.0.0/8)",
            r"4:10: `threads` can't be `0` (expected a whole number from 1 to 1024)",
            r"5:8: `path` is missing (expected `path`, or `redis`)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
threads: two
store: disk
",
        problems: &[
            r"3:10: `threads` can't be `two` (expected a whole number from 1 to 1024)",
            r"4:8: `store` can't be `disk` (expected memory)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
store:
  path: /dev/null
  sync: always
  interval: 0s
  waiting: 1
",
        problems: &[
            r"4:9: `/dev/null` is no folder (expected a folder)",
            r"5:9: `sync` can't be `always` (expected group or interval)",
            r"6:13: `interval` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d)",
            r"7:12: `waiting` can't be `1` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB; did you mean `1B`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
store: { path: /dev/nowhere/store, interval: 1s }
",
        problems: &[
            r"3:16: `/dev/nowhere` can't be read: No such file or directory (os error 2) (expected a folder)",
            r"3:46: `store.interval` means nothing without `store.sync: interval` (expected `sync: interval`, or no `interval`)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
store: { redis: 'http://:secret@127.0.0.1', prefix: 'a b', sync: group }
",
        problems: &[
            r"3:17: `redis` is no address of a Redis server (expected a URL such as redis://127.0.0.1:6379 or rediss://:PASSWORD@redis.example/0)",
            r"3:53: `prefix` can't be `a b` (expected 1 to 64 letters, digits and any of `-_.:`)",
            r"3:66: `store.sync` means nothing without `store.path` (expected `path`, or Redis's own settings)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
store: { path: /dev, redis: 'redis://127.0.0.1' }
",
        problems: &[
            r"3:29: `store.redis` can't stand beside `store.path`, which says the same in another way (expected one of them)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
store: [memory]
",
        problems: &[
            r"3:8: `store` is a list (expected memory, or a mapping with path, redis, prefix, sync, interval and waiting)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: {address: '127.0.0.1:7070', token: '${NOPE}'}
log: {level: '${LEVEL}'}
drain: {timeout: '${1X}'}
",
        problems: &[
            r"3:45: the variable `NOPE` is not set (expected a value in the environment, or a default: `${NOPE:-…}`)",
            r"4:14: `level` can't be `a\u{1b}b` (expected error, warn, info, debug or trace)",
            r"5:18: `${1X}` is no variable (expected `${NAME}`, `${NAME:-default}` or `${file:/path}`; `$${` stands for `${` itself)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
tickets: {keys: [0123456789abcdef0123456789abcdef, short], renewal: 0s}
",
        problems: &[
            r"3:52: `keys` can't be used as a secret (expected 32 bytes or more, for example from `openssl rand -hex 32`)",
            r"3:69: `renewal` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for no limit; did you mean `off`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: {address: '127.0.0.1:7070', token: '${file:/nonexistent/token}'}
",
        problems: &[r"3:45: `/nonexistent/token` can't be read: No such file or directory (os error 2)"],
    },
    Bad {
        text: r"listen: {address: '127.0.0.1:443', tls: {certificate: /nonexistent/a.pem}}
upstream: http://a:1
",
        problems: &[r"1:55: `/nonexistent/a.pem` can't be read: No such file or directory (os error 2)"],
    },
    Bad {
        text: r"listen: {address: '127.0.0.1:443', tls: [{key: /nonexistent/a.pem}, 7]}
upstream: http://a:1
",
        problems: &[
            r"1:42: `certificate` is missing (expected the path of a file)",
            r"1:69: `7` can't be read: No such file or directory (os error 2)",
        ],
    },
    Bad {
        text: r"~
",
        problems: &[r" the file says nothing (expected at least `listen` and `upstream`)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
limits: {}
log:
",
        problems: &[r"4:1: `log` has no value (expected a mapping with access and level)"],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  a: [app]
",
        problems: &[
            r"5:6: `a` is a list (expected the name of a pool, or a mapping with aliases, routes, pool, https, canonical, cors, allow, deny, headers, errors and compress)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools:
  app: http://127.0.0.1:8000
sites:
  a: {pool: }
",
        problems: &[
            r"5:7: `pool` has no value (expected the name of a pool: up to 64 letters, digits, `-`, `_` and `.`)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: {address: '127.0.0.1:1', tokn: x}
",
        problems: &[r"3:35: unknown key `tokn` (expected address or token; did you mean `token`?)"],
    },
    Bad {
        text: "\u{feff}listen: 127.0.0.1:0\r\nupstream: http://a:1\r\nx: y\r\n",
        problems: &[
            r"3:1: unknown key `x` (expected listen, control, upstream, pools, sites, channels, limits, buffers, timeouts, tickets, drain, log, trusted_proxies, threads or store)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
channels: {keepalive: 15}
",
        problems: &[
            r"3:23: `keepalive` can't be `15` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for never; did you mean `15s`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: {servers: http://a:1}
",
        problems: &[
            r"2:11: `upstream` is a mapping (expected a server or a list of servers; `pools` and `sites` can say more)",
        ],
    },
    Bad {
        text: r#"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
log: "x
"#,
        problems: &[r"3:6: this is not YAML: while scanning a quoted scalar, found unexpected end of stream"],
    },
];
