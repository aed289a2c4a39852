//! Bad files with faults in sites and routes, and in the way from one to a pool.

use super::Bad;

pub(super) const BAD: &[Bad] = &[
    Bad {
        text: r"listen: 127.0.0.1:0
pools: {app: http://127.0.0.1:8000}
sites:
  a.org: {https: {port: 0, status: 301}, pool: app}
  b.org: {https: [redirect], pool: app}
",
        problems: &[
            r"4:25: `port` can't be `0` (expected a port from 1 to 65535)",
            r"4:28: unknown key `status` (expected port)",
            r"5:18: `https` is a list (expected redirect, or `off`, or a mapping with port)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools: {app: http://127.0.0.1:8000}
sites:
  a.org:
    routes:
      - {path: /a, pool: app, cross_origin: any, jsonp: on}
      - {path: /b, pool: app, jsonp: {callback: a b, argument: all, body: '', default_callback: f(), method: get, mode: x}}
",
        problems: &[
            r"6:45: `cross_origin` can't be `any` (expected true or false)",
            r"6:57: `jsonp` can't be `on` (expected true or false)",
            r"7:49: `callback` can't be `a b` (expected the name of a parameter: up to 64 letters, digits, `-`, `_` and `.`)",
            r"7:64: `argument` can't be `all` (expected answer or body)",
            r"7:75: `body` can't be `` (expected the name of a parameter: up to 64 letters, digits, `-`, `_` and `.`)",
            r"7:97: `default_callback` can't be `f()` (expected the name of a function such as app.take, up to 64 characters)",
            r"7:110: `method` can't be `get` (expected GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS; did you mean `GET`?)",
            r"7:115: unknown key `mode` (expected callback, argument, body, default_callback or method)",
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
pools: {}
",
        problems: &[
            r"2:11: `upstream` can't stand beside `pools`, which says the same in another way (expected one of them)",
            r"3:8: `pools` is empty (expected at least one)",
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
pools: {app: http://127.0.0.1:8000}
sites:
  a.org:
    routes:
      - { path: /, redirect: /x }
      - { path: /app, pool: app }
      - { path: /a, bayeux: { authorize: /apple } }
      - { path: /b, bayeux: { authorize: { timeout: 0s, wait: 5s } } }
      - { path: /c, bayeux: { authorize: app } }
      - { path: /d, bayeux: { authorize: /app/may?x } }
",
        problems: &[
            r"5:5: `authorize` can't be `/apple` (expected a path that a route with a pool answers, or a URL)",
            r"9:42: `url` is missing (expected a path of the site, or a URL such as http://127.0.0.1:8000/authorize)",
            r"9:53: `timeout` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d)",
            r"9:57: unknown key `wait` (expected url, timeout or remember)",
            r"10:42: `authorize` can't be `app` (expected a path of the site, or a URL such as http://127.0.0.1:8000/authorize)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
pools: {app: http://127.0.0.1:8000}
sites:
  a.org:
    routes:
      - { path: /a, pool: app, grip: none }
      - { path: /b, pool: app, grip: { chanels: a, key: base64:?, issuer: [] } }
      - { path: /c, pool: app, grip: { channels: [] } }
      - { path: /d, pool: app, grip: off, websockets: over_http }
      - { path: /e, pool: app, websocket_pool: ap }
      - { path: /f, redirect: /, websocket_pool: app }
",
        problems: &[
            r"6:38: `grip` is text (expected `off`, or a mapping with key, issuer and channels)",
            r"7:40: unknown key `chanels` (expected key, issuer or channels; did you mean `channels`?)",
            r"7:57: `key` can't be used as a secret (expected text, base64 behind `base64:`, or the path of a file behind `file:`)",
            r"7:75: `issuer` is a list (expected 1 to 200 characters, none of them a control character)",
            r"8:50: `channels` is empty (expected at least one)",
            r"9:38: `grip` can't be `off` (expected another value where `websockets` is grip or over_http, which are GRIP's)",
            r"10:48: there is no pool `ap` (expected a key of `pools`; did you mean `app`?)",
            r"11:50: `websocket_pool` means nothing without `pool` (expected `pool` beside it)",
        ],
    },
];
