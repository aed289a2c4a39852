//! Bad files with faults in channels, their store, and what bounds all of them.

use super::Bad;

pub(super) const BAD: &[Bad] = &[
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
            r"3:80: unknown key `rate` (expected connections, holds, requests, burst, addresses or except)",
        ],
    },
    Bad {
        text: r#"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
limits: {held_conections: 5, "request_heders": 3}
"#,
        problems: &[
            r"3:10: unknown key `held_conections` (expected connections, per_address, http2, held_connections, new_holds, request_header, request_headers, request_target, request_body, hold_body, hold_channels, socket_message, message, batch, channels, subscribers, history_bytes, publish_body, bayeux_sessions, recoveries or turn_bytes; did you mean `held_connections`?)",
            r"3:30: unknown key `request_heders` (expected connections, per_address, http2, held_connections, new_holds, request_header, request_headers, request_target, request_body, hold_body, hold_channels, socket_message, message, batch, channels, subscribers, history_bytes, publish_body, bayeux_sessions, recoveries or turn_bytes; did you mean `request_headers`?)",
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
channels: {slow: drop, keepalive: 0s, history: {messages: 0, age: 5 m}}
",
        problems: &[
            r"3:18: `slow` can't be `drop` (expected close, skip or newest)",
            r"3:35: `keepalive` can't be `0s` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for never; did you mean `off`?)",
            r"3:59: `messages` can't be `0` (expected a whole number from 1, or `off` for none; did you mean `off`?)",
            r"3:67: `age` can't be `5 m` (expected a duration above zero such as 250ms, 5s, 10m, 1h or 2d, or `off` for no limit; did you mean `5m`?)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
channels:
  rules:
    - { match: [a, b*], slow: newst, history: { bytes: 0, mesages: 5 } }
    - { math: c, limits: { subscriber: 5, message: off, channels: -1 } }
    - { match: ['', b*], history: lots }
    - prices
",
        problems: &[
            r"5:31: `slow` can't be `newst` (expected close, skip or newest; did you mean `newest`?)",
            r"5:56: `bytes` can't be `0` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB, or `off` for no limit; did you mean `off`?)",
            r"5:59: unknown key `mesages` (expected messages, age or bytes; did you mean `messages`?)",
            r"6:7: `match` is missing (expected the name of a channel, in which each `*` stands for any characters, as in prices.*)",
            r"6:9: unknown key `math` (expected match, history, slow or limits; did you mean `match`?)",
            r"6:28: unknown key `subscriber` (expected channels, history_bytes, subscribers or message; did you mean `subscribers`?)",
            r"6:52: `message` can't be `off` (expected a size from 1B such as 512B, 64KiB, 10MB or 1GiB)",
            r"6:67: `channels` can't be `-1` (expected a whole number from 1, or `off` for no limit; did you mean `off`?)",
            r"7:17: `match` can't be `` (expected the name of a channel, in which each `*` stands for any characters, as in prices.*)",
            r"7:21: pattern `b*` is given twice, first on line 5 (expected each pattern once: the first rule that fits counts)",
            r"7:35: `history` can't be `lots` (expected a whole number from 1, or `off` for none)",
            r"8:7: `rules` is text (expected a mapping with match, history, slow and limits)",
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
store: { redis: ['redis://a', 'redis://b'], sentinels: 'redis://c', tls: { authority: /dev/null, key: /dev/null } }
",
        problems: &[
            r"3:56: `store.sentinels` can't stand beside `several addresses in store.redis`, which says the same in another way (expected one URL beside them, whose host is the name of the master)",
            r"3:74: `store.tls` means nothing without `rediss://` (expected a URL with `rediss://`, or no `tls`)",
            r"3:87: `/dev/null` holds no certificate in PEM form",
            r"3:103: `store.tls.key` means nothing without `store.tls.certificate` (expected a `certificate`, or no `key`)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
store: { path: /dev, sentinels: ['redis://c'], tls: {} }
",
        problems: &[
            r"3:33: `store.sentinels` means nothing without `store.redis` (expected `redis`, or none of its keys)",
            r"3:53: `store.tls` means nothing without `store.redis` (expected `redis`, or none of its keys)",
        ],
    },
    Bad {
        text: r"listen: 127.0.0.1:0
upstream: http://127.0.0.1:8000
store: [memory]
",
        problems: &[
            r"3:8: `store` is a list (expected memory, or a mapping with path, redis, sentinels, tls, prefix, sync, interval and waiting)",
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
limits: {}
log:
",
        problems: &[r"4:1: `log` has no value (expected a mapping with access and level)"],
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
upstream: http://127.0.0.1:8000
presence:
  - {grace: 5s}
  - {channels: [], batch: 0}
  - {channels: 'a*b', publish: '', post: 'ftp://a/'}
",
        problems: &[
            r"4:5: `channels` is missing (expected the name of a channel, or the beginning of names with a `*` behind it such as room-*)",
            r"5:16: `channels` is empty (expected at least one)",
            r"5:27: `batch` can't be `0` (expected a whole number from 1)",
            r"6:16: `channels` can't be `a*b` (expected the name of a channel, or the beginning of names with a `*` behind it such as room-*)",
            r"6:32: `publish` can't be `` (expected the name of a channel, in which `{channel}` stands for the watched one's)",
            r"6:42: `post` can't be `ftp://a/` (expected a URL such as http://127.0.0.1:8000/presence)",
        ],
    },
];
