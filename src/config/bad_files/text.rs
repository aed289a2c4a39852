//! Bad files whose fault lies in the YAML, in a variable, or in the file as a whole.

use super::Bad;

pub(super) const BAD: &[Bad] = &[
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
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
log: {level: info, level: debug}
",
        problems: &[r"3:20: key `level` is given twice, first on line 3 (expected each key once)"],
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
  a.org:
    routes:
      - {path: static, pool: app}
      - {path: /x/*, pool: app}
      - {path: /y}
      - app
      - {path: /z, pool: app}
      - {path: /z, pool: app, web_sockets: over-http}
      - {path: /p, pool: app, files: /}
      - {path: /q, files: /none/at/all, internal: yes}
      - {path: /r, files: {index: [a/b, .x], cache_control: é}}
      - {path: /s, files: {root: /dev/null, index: []}}
      - {path: /t, files: [/]}
      - {path: /u, bayeux: {timeout: 0s, queu: 1, per_browser: 0}, redirect: /}
      - {path: /v, bayeux: on}
      - {path: /w, script: {cache: no}, bayeux: {}}
",
        problems: &[
            r"7:16: `path` can't be `static` (expected the beginning of a path: a slash, no query, no spaces and no wildcard; did you mean `/static`?)",
            r"8:16: `path` can't be `/x/*` (expected the beginning of a path: a slash, no query, no spaces and no wildcard; did you mean `/x/`?)",
            r"9:9: the route leads nowhere (expected `pool`, `files`, `redirect`, `bayeux` or `script`)",
            r"10:9: `routes` is text (expected a mapping with path, pool, files, internal, buffer, request_body, websockets, websocket_pool, upstream_path, channel_prefix, grip, debug, cross_origin, jsonp, redirect, bayeux, script, allow, deny, headers, errors and compress)",
            r"12:16: path `/z` is given twice, first on line 11 (expected each path once in a site)",
            r"12:31: unknown key `web_sockets` (expected path, pool, files, internal, buffer, request_body, websockets, websocket_pool, upstream_path, channel_prefix, grip, debug, cross_origin, jsonp, redirect, bayeux, script, allow, deny, headers, errors or compress; did you mean `websockets`?)",
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
            r"18:42: unknown key `queu` (expected timeout, interval, expiry, per_browser, same_browser, poll_interval, subscriptions, queue, queue_bytes, body or authorize; did you mean `queue`?)",
            r"18:64: `per_browser` can't be `0` (expected a whole number from 1, or `off` for no limit; did you mean `off`?)",
            r"19:28: `bayeux` is text (expected a mapping with timeout, interval, expiry, per_browser, same_browser, poll_interval, subscriptions, queue, queue_bytes, body and authorize)",
            r"20:28: `script` can't stand beside `bayeux`, since a route leads to one place (expected one of them)",
            r"20:29: unknown key `cache` (expected cache_control)",
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
            r"8:5: unknown key `sticky` (expected servers, max_connections, queue, keepalive, reproxy, connect_ahead, verify, eject, health, resolve, retries, error_retries or tls)",
            r"9:3: `pools` can't hold the name `my pool` (expected the name of a pool: up to 64 letters, digits, `-`, `_` and `.`)",
            r"10:10: `servers` is missing (expected at least one server)",
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
control: {address: '127.0.0.1:7070', token: '${file:/nonexistent/token}'}
",
        problems: &[r"3:45: `/nonexistent/token` can't be read: No such file or directory (os error 2)"],
    },
    Bad {
        text: r"~
",
        problems: &[r" the file says nothing (expected at least `listen` and `upstream`)"],
    },
    Bad {
        text: r#"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
log: "x
"#,
        problems: &[r"3:6: this is not YAML: while scanning a quoted scalar, found unexpected end of stream"],
    },
];
