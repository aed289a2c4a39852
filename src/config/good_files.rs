//! Good files, and the configuration that each of them is.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use hyper::Method;

use super::certificate::fixture::Folder;
use super::{
    AccessFormat, Action, Buffer, ChannelLimits, Config, CorsConfig, DiskConfig, Endpoint, FilesConfig,
    HealthConfig, HistoryConfig, KeepaliveConfig, LogLevel, NamedConfig, QueueConfig, ReproxyConfig,
    RetriesConfig, Role, RouteGrip, Secret, SignConfig, Signing, SlowReader, StoreConfig, SyncTime, Target,
    UploadConfig, UrlPattern, VerifyConfig, Websockets,
};
use crate::jwt::SigningKey;

fn config(text: &str) -> Config {
    let environment = |name: &str| match name {
        "PORT" => Some("8000".to_owned()),
        "OFF" => Some("off".to_owned()),
        "YAML" => Some("x\ncontrol: {address: 0.0.0.0:1}".to_owned()),
        _ => None,
    };
    Config::parse("good.yaml", text, &environment).unwrap_or_else(|problems| panic!("{problems}"))
}

fn with(lines: &str) -> Config {
    config(&format!("listen: 127.0.0.1:0\nupstream: http://127.0.0.1:8000\n{lines}"))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn three_lines_are_a_whole_configuration() {
    let config = config("listen: 127.0.0.1:8080\nupstream: http://127.0.0.1:8000\ncontrol: 127.0.0.1:7070\n");
    assert_eq!(config.listen[0].address, address("127.0.0.1:8080"));
    assert!(config.listen[0].tls.is_empty());
    let control = config.control.unwrap();
    assert_eq!(control.address, Endpoint::Tcp(address("127.0.0.1:7070")));
    assert_eq!(control.tokens, []);
    let pool = &config.pools["upstream"];
    assert_eq!(pool.servers[0].name, "http://127.0.0.1:8000");
    assert_eq!(pool.servers[0].target, Target::Tcp { host: "127.0.0.1".into(), port: 8000 });
    assert_eq!(pool.max_connections, None);
    assert_eq!(config.sites[0].hosts, ["*"]);
    let route = &config.sites[0].routes[0];
    assert_eq!((route.path.as_str(), &route.action), ("/", &Action::Pool("upstream".into())));
}

#[test]
fn what_is_written_out_is_what_is_meant() {
    let config = config(
        r#"
listen: [127.0.0.1:0, {address: "[::1]:0"}, 127.0.0.1:0]
control: {address: 10.0.0.1:7070, token: s3cret}
pools:
  app:
    servers: [http://10.0.0.5, "unix:/run/app.sock"]
    max_connections: 32
    queue:
      length: 5
      timeout: 250ms
      high: [{ cookie: vip }, { cookie: tier=gold, path: /shop/ }, { header: "X-Priority:  high" }]
      low: { peer: 10.0.0.0/8 }
      relief: off
    keepalive: { connections: off, idle: 2s, requests: 100 }
    connect_ahead: 3
    verify: OPTIONS /up
    retries: { attempts: 2, share: 0%, floor: 0 }
    eject: off
    health: { path: /up?x, host: "app.example:80", interval: 1s, jitter: 0s, timeout: 3s, rise: 1, fall: 9 }
    resolve: off
    error_retries: [0s, 250ms]
  blog: blog.internal:3000
  alone: { servers: http://a:1, queue: off, keepalive: 7, health: /up }
  trusted:
    servers: http://a:1
    reproxy:
      urls: [Media.example, "*.cdn.example:81", 10.0.0.0/8, 10.0.0.1:80, "[::1]:80", "[::1]", ::1, "*"]
      files: [/, /dev]
      sites: Blog.example
      cache: 100
sites:
  Example.COM:
    aliases: "*.example.com"
    cors: [https://www.example.com, "http://localhost:8080"]
    https: { port: 8443 }
    routes:
      - { path: /, pool: app }
      - { path: /blog, pool: blog, buffer: request, request_body: 1MiB, grip: { channels: [news, a b], key: base64:AAEC, issuer: me }, websocket_pool: alone }
      - { path: /static, files: /, grip: off }
      - { path: /kept, internal: true, files: { root: /dev, index: [a, b], cache_control: no-store } }
  blog.example: { pool: blog, https: redirect }
  "*": { pool: alone, cors: "*" }
channels:
  rules:
    - match: [prices.*, quotes.*]
      slow: newest
      history: { messages: 7, bytes: off }
      limits: { channels: 5, history_bytes: 64MiB, subscribers: off, message: 16KiB }
    - match: quiet
  history: { messages: off, age: off, bytes: 1MiB }
  slow: skip
  keepalive: off
  poll_timeout: 25s
  returns: 500/s
limits: { subscribers: 9, held_connections: off, new_holds: 600/m, request_body: off, request_header: 8KiB }
buffers: { memory: 1MiB, folder: /dev, disk: off, upload: { size: off, rate: 50KB, time: off } }
log: { access: off, level: trace }
trusted_proxies: [10.0.0.0/8, ::1]
threads: 3
store: { path: /dev, sync: interval, interval: 50ms, waiting: 1MiB }
"#,
    );
    assert_eq!(config.listen.len(), 3);
    let token = &config.control.unwrap().tokens[0];
    assert_eq!((format!("{:?}", token.token).as_str(), &token.roles[..]), ("Secret(…)", &[Role::Admin][..]));
    let sync = SyncTime::Interval(Duration::from_millis(50));
    let disk = DiskConfig { path: "/dev".into(), sync, waiting: 1 << 20 };
    assert_eq!(config.store, StoreConfig::Disk(disk));
    let app = &config.pools["app"];
    assert_eq!(app.servers[1].target, Target::Unix("/run/app.sock".into()));
    assert_eq!(app.max_connections.map(usize::from), Some(32));
    assert_eq!((app.queue.length, app.queue.timeout), (5, Duration::from_millis(250)));
    let named = |name: &str, value: Option<&str>| {
        Some(NamedConfig { name: name.to_owned(), value: value.map(str::to_owned) })
    };
    let none = SignConfig::default;
    let gold = SignConfig {
        cookie: named("tier", Some("gold")),
        path: Some("/shop/".to_owned()),
        ..SignConfig::default()
    };
    let urgent = SignConfig { header: named("x-priority", Some("high")), ..none() };
    assert_eq!(app.queue.high, [SignConfig { cookie: named("vip", None), ..none() }, gold, urgent]);
    assert_eq!(app.queue.low, [SignConfig { peer: Some("10.0.0.0/8".parse().unwrap()), ..none() }]);
    assert_eq!(app.queue.relief, None);
    assert_eq!(
        app.keepalive,
        KeepaliveConfig { connections: 0, idle: Duration::from_secs(2), requests: NonZeroU32::new(100) }
    );
    let verify = VerifyConfig { method: Method::OPTIONS, target: "/up".to_owned() };
    assert_eq!((app.connect_ahead, &app.verify), (3, &Some(verify)));
    assert_eq!(app.retries, RetriesConfig { attempts: 2, share: 0, floor: 0 });
    assert_eq!((&app.eject, app.resolve), (&None, None));
    let times = |number| NonZeroU32::new(number).unwrap();
    let health = HealthConfig {
        path: "/up?x".to_owned(),
        host: Some("app.example:80".to_owned()),
        interval: Duration::from_secs(1),
        jitter: Duration::ZERO,
        timeout: Duration::from_secs(3),
        rise: times(1),
        fall: times(9),
    };
    assert_eq!(app.health, Some(health));
    assert_eq!(config.pools["alone"].health, Some(HealthConfig::at("/up".to_owned())));
    assert_eq!(app.error_retries, [Duration::ZERO, Duration::from_millis(250)]);
    let alone = &config.pools["alone"];
    assert_eq!((alone.queue.length, alone.keepalive.connections), (0, 7));
    assert_eq!(alone.queue.timeout, QueueConfig::default().timeout);
    let reproxy = &config.pools["trusted"].reproxy;
    let host = |host: &str, port| UrlPattern::Host { host: host.into(), port };
    let net = |net: &str, port| UrlPattern::Net { net: net.parse().unwrap(), port };
    assert_eq!(
        reproxy.urls,
        [
            host("media.example", None),
            host("*.cdn.example", Some(81)),
            net("10.0.0.0/8", None),
            net("10.0.0.1/32", Some(80)),
            net("::1/128", Some(80)),
            net("::1/128", None),
            net("::1/128", None),
            host("*", None),
        ]
    );
    assert_eq!(
        (reproxy.files.len(), &*reproxy.sites, reproxy.cache),
        (2, &["blog.example".to_owned()][..], 100)
    );
    assert_eq!(config.pools["app"].reproxy, ReproxyConfig::default());
    let [first, blog, rest] = &config.sites[..] else { panic!("three sites") };
    let named = |origins: &[&str]| CorsConfig::Origins(origins.iter().map(|&o| o.to_owned()).collect());
    assert_eq!(first.cors, named(&["https://www.example.com", "http://localhost:8080"]));
    assert_eq!((first.https, blog.https, rest.https), (Some(8443), Some(443), None));
    assert_eq!((&blog.cors, &rest.cors), (&CorsConfig::default(), &CorsConfig::Any));
    assert_eq!(first.hosts, ["example.com", "*.example.com"]);
    assert_eq!(first.routes[1].path, "/blog");
    assert_eq!(first.routes[1].websocket_pool.as_deref(), Some("alone"));
    let grip = first.routes[1].grip.as_ref().unwrap();
    assert_eq!(
        (&grip.channels[..], grip.issuer.as_deref()),
        (&["news", "a b"].map(str::to_owned)[..], Some("me"))
    );
    assert_eq!(grip.key, Some(Signing::By(SigningKey::secret(&[0, 1, 2]))));
    assert_eq!((&first.routes[0].grip, &first.routes[2].grip), (&Some(RouteGrip::default()), &None));
    assert_eq!(first.routes[0].buffer, Buffer { request: true, response: true });
    assert_eq!(first.routes[1].buffer, Buffer { request: true, response: false });
    assert_eq!((first.routes[0].request_body, first.routes[1].request_body), (None, Some(1 << 20)));
    assert_eq!((config.buffers.disk, config.buffers.request), (0, 256 << 10));
    assert_eq!(config.buffers.upload, UploadConfig { size: None, rate: Some(50_000), time: None });
    let files = |root: &str, index: &[&str], cache_control: Option<&str>| {
        let index = index.iter().map(|name| (*name).to_owned()).collect();
        Action::Files(FilesConfig { root: root.into(), index, cache_control: cache_control.map(Into::into) })
    };
    assert_eq!(first.routes[2].action, files("/", &["index.html"], None));
    assert_eq!(first.routes[3].action, files("/dev", &["a", "b"], Some("no-store")));
    assert_eq!((first.routes[2].internal, first.routes[3].internal), (false, true));
    assert_eq!((blog.name.as_str(), &blog.routes[0].action), ("blog.example", &Action::Pool("blog".into())));
    assert_eq!((rest.routes[0].path.as_str(), &rest.routes[0].action), ("/", &Action::Pool("alone".into())));
    assert_eq!(config.channels.history, HistoryConfig { messages: 0, age: None, bytes: Some(1 << 20) });
    assert_eq!((config.channels.slow, config.channels.keepalive), (SlowReader::Skip, None));
    let [prices, quiet] = &config.channels.rules[..] else { panic!("{:?}", config.channels.rules) };
    assert_eq!((prices.patterns.join(" "), prices.slow), ("prices.* quotes.*".into(), SlowReader::Newest));
    assert_eq!(prices.history, HistoryConfig { messages: 7, age: None, bytes: None });
    let limits = ChannelLimits {
        channels: Some(5),
        history_bytes: Some(64 << 20),
        subscribers: None,
        message: Some(16 << 10),
    };
    assert_eq!(prices.limits, limits);
    assert_eq!((&quiet.history, quiet.slow), (&config.channels.history, SlowReader::Skip), "as for all");
    assert_eq!(quiet.limits, ChannelLimits { subscribers: Some(9), ..ChannelLimits::default() });
    assert_eq!((config.limits.held_connections, config.limits.request_body), (None, None));
    let rates =
        [config.limits.new_holds, config.channels.returns].map(|rate| rate.map(|rate| rate.count.get()));
    assert_eq!(rates, [Some(600), Some(500)]);
    assert_eq!((config.log.access, config.log.level), (AccessFormat::Off, LogLevel::Trace));
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.threads.get(), 3);
}

#[test]
fn tickets_have_keys_of_which_none_is_ever_shown() {
    let key = "0123456789abcdef0123456789abcdef";
    let config = with(&format!("tickets: {{keys: [{key}], renewal: off, revocations: 5}}\n"));
    assert_eq!(config.tickets.keys, [Secret(key.into())]);
    assert_eq!((config.tickets.renewal, config.tickets.revocations), (None, 5));
    assert!(!format!("{config:?}").contains(key));
    assert_eq!(with("").tickets.renewal, Some(Duration::from_secs(12 * 3600)));
}

#[test]
fn a_store_in_redis_has_a_url_that_nobody_is_shown() {
    let config = with("store: { redis: 'rediss://:word@redis.example:1/2', waiting: 1MiB }");
    let StoreConfig::Redis(redis) = config.store else { panic!("another store") };
    assert!(!format!("{redis:?}").contains("word"));
    assert_eq!((redis.prefix.as_str(), redis.waiting), ("perihelion", 1 << 20));
}

#[test]
fn a_store_in_redis_may_have_several_addresses_or_sentinels() {
    let redis = |text: &str| match with(&format!("store: {{ {text} }}")).store {
        StoreConfig::Redis(redis) => (redis.urls.len(), redis.sentinels.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(redis("redis: ['redis://a', 'rediss://:word@b:1/2']"), (2, 0));
    assert_eq!(
        redis("redis: 'redis://:word@main/1', sentinels: ['redis://a:26379', 'redis://b:26379']"),
        (1, 2)
    );
}

#[test]
fn a_bound_that_was_left_out_gives_way_to_the_one_that_was_typed() {
    let config = with("drain: {timeout: 5s}\nlimits: {connections: 10, channels: 5, history_bytes: 64KiB}\n");
    assert_eq!(config.drain.spread, Duration::from_secs(5));
    assert_eq!(config.limits.held_connections, Some(10));
    assert_eq!(config.limits.hold_channels, 5);
    assert_eq!(config.limits.message, 64 << 10);
}

#[test]
fn variables_fill_values_of_every_type_and_stay_one_value() {
    let folder = Folder::new();
    folder.write("token", "s3cret\n");
    let token = format!("control: {{ address: 10.0.0.1:1, token: '${{file:{}}}' }}\n", folder.file("token"));
    let config = with(&format!("{token}limits: {{ connections: '${{OFF}}', batch: '${{PORT}}' }}\n"));
    assert_eq!(config.control.unwrap().tokens[0].token.0, "s3cret");
    assert_eq!((config.limits.connections, config.limits.batch), (None, 8000));

    let text = "listen: 127.0.0.1:0\nupstream: http://a:${PORT}\nlog: {level: '${YAML}'}\n";
    let problems =
        Config::parse("a.yaml", text, &|name| Some(if name == "PORT" { "8000" } else { "b\nc: d" }.into()));
    let said = problems.map(|_| ()).map_err(|problems| problems.to_string());
    let expected = "a.yaml:3:14: `level` can't be `b\\nc: d` (expected error, warn, info, debug or trace)";
    assert_eq!(said, Err(expected.to_owned()));
}

#[test]
fn marks_of_other_systems_are_no_problem() {
    let config =
        config("\u{feff}listen: 127.0.0.1:8080\r\nupstream: http://a:1\r\nlog:\r\n  level: warn\r\n");
    assert_eq!(config.log.level, LogLevel::Warn);
    assert_eq!(config.pools["upstream"].servers[0].name, "http://a:1");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = Folder::new();
    let load = |name: &str| {
        let said = Config::load(&folder.path.join(name)).map(|_| ()).map_err(|problems| problems.to_string());
        said.map_err(|text| text.replace(&folder.path.display().to_string(), "F"))
    };
    folder.write("big.yaml", &"# padding\n".repeat(200_000));
    std::fs::write(folder.path.join("latin.yaml"), b"listen: \xe9\n").unwrap();
    folder.write("good.yaml", "listen: 127.0.0.1:0\nupstream: http://a:1\n");
    let table = [
        (
            "none.yaml",
            Err("F/none.yaml: `F/none.yaml` can't be read: No such file or directory (os error 2)"),
        ),
        ("", Err("F/: `F/` can't be read: Is a directory (os error 21)")),
        ("big.yaml", Err("F/big.yaml: `F/big.yaml` can't be read: it is larger than 1MiB")),
        ("latin.yaml", Err("F/latin.yaml:1:9: this is not UTF-8 text")),
        ("good.yaml", Ok(())),
    ];
    for (name, expected) in table {
        assert_eq!(load(name), expected.map_err(str::to_owned), "{name}");
    }
}

#[test]
fn a_way_of_websockets_has_a_second_name() {
    let way = |typed: &str| {
        let text = format!(
            "listen: 127.0.0.1:0\npools: {{ a: b:80 }}\nsites: {{ '*': {{ routes: [{{ path: /, pool: a, {typed} }}] }} }}"
        );
        config(&text).sites[0].routes[0].websockets
    };
    assert_eq!(way("websocket: over-http"), Websockets::OverHttp);
    assert_eq!(way("websockets: over_http"), Websockets::OverHttp);
}

#[test]
fn it_is_known_whether_somebody_counts_on_the_number_of_holds() {
    let typed = |limits: &str| {
        let text = format!("listen: 127.0.0.1:0\nupstream: b:80\nlimits: {{ {limits} }}");
        config(&text).limits.held_is_typed
    };
    assert!(typed("held_connections: 1000000"));
    assert!(!typed("connections: 5"));
}
