//! Bad files with faults in what the process is given: addresses, certificates, clocks, logs.

use super::Bad;

pub(super) const BAD: &[Bad] = &[
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
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
watchdog: 1s
user: nobody-knows-them
control:
  address: 10.0.0.1:7070
  token: s3cret
  tokens:
    - { name: shop, token: one, roles: publish }
    - { name: shop, token: two, roles: [read, publsh] }
    - { name: more, token: s3cret, roles: [] }
    - { name: a b, token: 'a b' }
",
        problems: &[
            r"3:11: `watchdog` can't be `1s` (expected a duration from 5s, or `off`)",
            r"4:7: there is no user `nobody-knows-them`",
            r"10:15: token `shop` is given twice, first on line 9 (expected another name)",
            r"10:47: `roles` can't be `publsh` (expected publish, read or admin; did you mean `publish`?)",
            r"11:28: the token of `more` is given twice, first on line 7 (expected a token of its own)",
            r"11:43: `roles` is empty (expected at least one)",
            r"12:7: `roles` is missing (expected publish, read or admin)",
            r"12:15: `name` can't be `a b` (expected up to 64 letters, digits, `-`, `_` and `.`)",
            r"12:27: `token` can't be used as a secret (expected visible ASCII characters without spaces)",
        ],
    },
    Bad {
        text: r"listen:
  - { address: 127.0.0.1:0, client_certificates: { mode: maybe } }
  - { address: 127.0.0.1:0, client_certificates: on }
  - { address: 127.0.0.1:0, client_certificates: { ca: [/dev/null], mode: optional } }
upstream: http://127.0.0.1:8000
",
        problems: &[
            r"2:50: `ca` is missing (expected the path of a file)",
            r"2:50: `client_certificates` means nothing without `tls` (expected a certificate of the listener)",
            r"2:58: `mode` can't be `maybe` (expected required or optional)",
            r"3:50: `client_certificates` can't be `on` (expected `off`, or a mapping)",
            r"4:50: `client_certificates` means nothing without `tls` (expected a certificate of the listener)",
            r"4:57: `/dev/null` holds no certificate in PEM form",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
lisen: 127.0.0.1:80
",
        problems: &[
            r"3:1: unknown key `lisen` (expected listen, control, upstream, pools, sites, channels, limits, buffers, timeouts, tickets, presence, grip, drain, log, trusted_proxies, threads, store, user, group or watchdog; did you mean `listen`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
grip: {kay: x, key: 'base64:?', issuer: '', publish_key: ''}
",
        problems: &[
            r"3:8: unknown key `kay` (expected key, issuer, publish_key or filters; did you mean `key`?)",
            r"3:21: `key` can't be used as a secret (expected text, base64 behind `base64:`, or the path of a file behind `file:`)",
            r"3:41: `issuer` can't be `` (expected 1 to 200 characters, none of them a control character)",
            r"3:58: `publish_key` can't be used as a secret (expected text, base64 behind `base64:`, or the path of a file behind `file:`)",
        ],
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
            r"1:1: `listen` has no value (expected an IP address and a port such as 127.0.0.1:8080 or [::]:443, or a mapping with address, tls, proxy_protocol, client_certificates and http2)",
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
            r"2:11: `upstream` can't be `8000` (expected http://host:port or https://host:port without a path, or unix:/run/app.sock)",
        ],
    },
    Bad {
        text: r"listen: {address: 127.0.0.1:80, http2: auto}
upstream: http://127.0.0.1:8000
limits: {http2: {streams: 0, window: 1KiB, resets: 5, frames: 1/s}}
timeouts: {ping: 0s}
",
        problems: &[
            r"1:40: `http2` can't be `auto` (expected true or false)",
            r"3:27: `streams` can't be `0` (expected a whole number from 1 to 10000)",
            r"3:38: `window` can't be `1KiB` (expected a size from 64KiB to 256MiB)",
            r"3:52: `resets` can't be `5` (expected a number in a time such as 50/s, 600/m or 1000/h, or `off` for no limit)",
            r"3:55: unknown key `frames` (expected streams, window, resets or control_frames)",
            r"4:18: `ping` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d)",
        ],
    },
    Bad {
        text: r"listen: {address: localhost:80, tls: []}
upstream: https://app/x
",
        problems: &[
            r"1:19: `address` can't be `localhost:80` (expected an IP address and a port such as 127.0.0.1:8080 or [::]:443; did you mean `127.0.0.1:80`?)",
            r"1:38: `tls` is empty (expected at least one)",
            r"2:11: `upstream` can't be `https://app/x` (expected http://host:port or https://host:port without a path, or unix:/run/app.sock)",
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
            r"4:5: `listen` is a list (expected an IP address and a port such as 127.0.0.1:8080 or [::]:443, or a mapping with address, tls, proxy_protocol, client_certificates and http2)",
            r"6:10: address `127.0.0.1:80` is given twice, first on line 2 (expected another port)",
        ],
    },
    Bad {
        text: r"listen: [127.0.0.1:80, 0.0.0.0:81]
control: 127.0.0.1:82
pools:
  a: {servers: [http://a:80, http://127.0.0.1:81, http://127.0.0.2:80], max_connections: 4}
  b: http://localhost
  c: [127.0.0.1:8000, 127.0.0.1:82]
sites: {'*': a}
",
        problems: &[
            r"4:16: `http://127.0.0.1:81` is where the proxy itself listens (expected where the application listens)",
            r"5:6: `http://localhost` is where the proxy itself listens (expected where the application listens)",
            r"6:6: `127.0.0.1:82` is where the proxy itself listens (expected where the application listens)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:80
upstream: http://127.0.0.1:80
",
        problems: &[
            r"2:11: `http://127.0.0.1:80` is where the proxy itself listens (expected where the application listens)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: 0.0.0.0:7070
",
        problems: &[
            r"3:10: the control port on `0.0.0.0:7070` can be reached from other machines and asks for nothing (expected a `token`, `client_certificates`, a loopback address or a Unix socket)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control:
  address: unix:/run/control.sock
  tls: []
  client_certificates:
    ca: /nonexistent/ca.pem
    subjects:
      - { subject: 'CN = shop', roles: publish }
      - { subject: CN=shop, roles: everything }
      - { subject: CN=shop, roles: read }
      - { roles: read }
",
        problems: &[
            r"5:8: `tls` is empty (expected at least one)",
            r"5:8: `control.tls` means nothing without `an IP address and a port` (expected another `address`, or no `tls`)",
            r"7:9: `/nonexistent/ca.pem` can't be read: No such file or directory (os error 2)",
            r"9:20: `subject` can't be `CN = shop` (expected the subject of a certificate as `openssl x509 -noout -subject -nameopt RFC2253,-esc_msb` prints it, like `CN=shop,O=Example`)",
            r"10:36: `roles` can't be `everything` (expected publish, read or admin)",
            r"11:20: subject `CN=shop` is given twice, first on line 10 (expected another subject)",
            r"12:9: `subject` is missing (expected the subject of a certificate as `openssl x509 -noout -subject -nameopt RFC2253,-esc_msb` prints it, like `CN=shop,O=Example`)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: {address: 10.0.0.1:7070, client_certificates: {ca: /dev/null, subjects: []}}
",
        problems: &[
            r"3:56: `client_certificates` means nothing without `tls` (expected a certificate of the control port)",
            r"3:61: `/dev/null` holds no certificate in PEM form",
            r"3:82: `subjects` is empty (expected at least one)",
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
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
control: {address: '127.0.0.1:1', tokn: x}
",
        problems: &[
            r"3:35: unknown key `tokn` (expected address, token, tokens, tls or client_certificates; did you mean `token`?)",
        ],
    },
    Bad {
        text: "\u{feff}listen: 127.0.0.1:0\r\nupstream: http://a:1\r\nx: y\r\n",
        problems: &[
            r"3:1: unknown key `x` (expected listen, control, upstream, pools, sites, channels, limits, buffers, timeouts, tickets, presence, grip, drain, log, trusted_proxies, threads, store, user, group or watchdog)",
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
];
