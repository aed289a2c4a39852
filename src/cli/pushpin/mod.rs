//! `import pushpin`: a configuration of ours from Pushpin's routes file and `pushpin.conf`.
//!
//! Pure: texts in, text out. What has no equivalent becomes a comment where it would stand, so that nobody finds out
//! later. What Pushpin's own default is isn't written down, unless ours differs and an application relies on it.
//! After Pushpin 1.36, its `routes` and `pushpin.conf`.

mod fits;
mod grip;
mod routes;
mod settings;
mod sites;
mod yaml;

use std::path::Path;

use grip::anchored;
use routes::Rule;
use settings::Settings;
use sites::Layout;
use yaml::Yaml;

/// A file of Pushpin's.
#[derive(Clone, Copy)]
pub(super) struct Source<'s> {
    pub(super) text: &'s str,
    /// Where the paths in it begin.
    pub(super) folder: &'s Path,
}

/// The YAML for a routes file, and a `pushpin.conf` where there is one.
pub(super) fn import(routes: Source<'_>, conf: Option<Source<'_>>) -> String {
    let (mut rules, bad) = routes::read(routes.text);
    rules.iter_mut().for_each(|rule| anchor(rule, routes.folder));
    let settings = Settings::read(conf);
    let mut out = Yaml::default();
    out.comment("From Pushpin's configuration. Lines that begin with `not taken over` say what has no equivalent here.");
    settings
        .write(&mut out, rules.iter().flat_map(|rule| &rule.targets).any(|target| target.has("over_http")));
    Layout::of(&rules, &settings).write(&mut out);
    for line in bad {
        out.not_taken_over(&format!("line {} of the routes: {}", line.number, line.reason));
    }
    out.text
}

/// Names files of keys from the root.
fn anchor(rule: &mut Rule, folder: &Path) {
    for (_, key) in rule.condition.properties.iter_mut().filter(|(name, _)| name == "sig_key") {
        *key = anchored(key, folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Action, Config, JsonpArgument, JsonpConfig, RouteConfig, Signing, Websockets};
    use crate::jwt::SigningKey;

    /// Text that loads, since nobody can use another.
    fn imported(routes: &str, conf: Option<&str>) -> (String, Config) {
        let source = |text| Source { text, folder: Path::new("/nowhere") };
        let text = import(source(routes), conf.map(source));
        let environment = |name: &str| (name == "PERIHELION_TOKEN").then(|| "t0ken".to_owned());
        let config = Config::parse("imported.yaml", &text, &environment);
        let config = config.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        (text, config)
    }

    #[test]
    fn the_routes_that_pushpin_ships_become_one_pool_behind_its_ports() {
        let (text, config) = imported("* localhost:80,over_http\n", None);
        assert_eq!(config.listen[0].address, "0.0.0.0:7999".parse().unwrap());
        assert!(text.contains("control: 127.0.0.1:5561\n"), "{text}");
        assert_eq!(config.pools["localhost-80"].servers[0].name, "http://localhost:80");
        assert!(text.contains("grip: { key: \"changeme\", issuer: \"pushpin\" }"), "{text}");
    }

    #[test]
    fn hosts_become_sites_and_the_longest_path_wins_as_before() {
        let routes = "\
# shop and everything else
shop.example,path_beg=/live,header=X-Live:1 10.0.0.5:8000 10.0.0.6:8000   # two of them
shop.example 10.0.0.7:443,ssl,insecure,host=internal.example
* app:8000
";
        let (text, config) = imported(routes, None);
        let site = |name: &str| config.sites.iter().find(|site| site.name == name).unwrap();
        let paths: Vec<_> = site("shop.example").routes.iter().map(|route| route.path.as_str()).collect();
        assert_eq!(paths, ["/live", "/"]);
        assert_eq!(site("*").routes.len(), 1);
        assert_eq!(config.pools["10.0.0.5-8000"].servers.len(), 2);
        assert_eq!(config.pools["10.0.0.7-443"].servers[0].name, "https://10.0.0.7:443");
        for said in
            ["verify: off", "set: { \"Host\": \"internal.example\" }", "\"X-Live\": \"1\"", "in order"]
        {
            assert!(text.contains(said), "{said}\n{text}");
        }
    }

    #[test]
    fn what_has_no_equivalent_is_said_where_it_would_stand() {
        let routes = "\
*,path_beg=/v1,prefix=v1-,sockjs=/sock,id=one localhost:8000,one_event
*,path_beg=/v1 localhost:9000
*,path_beg=/test test
,id=hidden localhost:7000
* zhttp/tcp://127.0.0.1:10000
* \"unclosed
";
        let conf = "[runner]\nhttp_port=\nhttps_ports=443\n[proxy]\nsig_key=base64:Y2hhbmdlbWU=\nsig_iss=mine\n\
                    cdn_loop=x\n[handler]\npush_in_http_addr=0.0.0.0\npush_in_http_port=5562\nmessage_rate=2500\n\
                    message_wait=100\n";
        let (text, config) = imported(routes, Some(conf));
        let comments: Vec<_> = text.lines().filter(|line| line.contains("not taken over")).collect();
        for said in [
            "sockjs",
            "one_event",
            "another rule for the same path",
            "test",
            "zhttp",
            "id=hidden",
            "line 6",
            "https_ports",
            "cdn_loop",
            "message_wait",
        ] {
            assert!(comments.iter().any(|comment| comment.contains(said)), "{said}\n{text}");
        }
        assert!(!comments.iter().any(|comment| comment.contains("message_rate")), "{text}");
        assert!(text.contains("key: \"base64:Y2hhbmdlbWU=\", issuer: \"mine\""), "{text}");
        assert!(config.control.is_some_and(|control| !control.tokens.is_empty()));
    }

    #[test]
    fn what_takes_the_place_of_a_path_and_stands_before_channels_is_taken_over() {
        let routes = "\
*,path_beg=/a/,path_rem=2,prefix=a- a:80
*,path_beg=/b,path_rem=2 a:80
*,path_beg=/c,replace_beg=/d/e,prefix= a:80
*,path_beg=/d,path_rem=9 a:80
*,path_beg=/e,replace_beg=e a:80
*,path_beg=/f a:80
";
        let (text, config) = imported(routes, None);
        let routes = config.sites[0].routes.iter();
        let taken: Vec<_> = routes
            .map(|route| {
                (route.path.as_str(), route.upstream_path.as_deref(), route.channel_prefix.as_deref())
            })
            .collect();
        let expected = [
            ("/a/", Some("/"), Some("a-")),
            ("/b", Some("/"), None),
            ("/c", Some("/d/e"), None),
            ("/d", None, None),
            ("/e", None, None),
            ("/f", None, None),
        ];
        assert_eq!(taken, expected);
        for said in ["path_rem=9", "replace_beg=e"] {
            assert!(text.contains(&format!("# not taken over: {said}")), "{text}");
        }
    }

    #[test]
    fn channels_of_targets_are_those_of_the_route() {
        let routes =
            "*,path_beg=/a,prefix=a- a:80,sub=news,sub=all b:80,sub=\"x, \\\"y\",sub=news,sub=\n* a:80,sub\n";
        let (_, config) = imported(routes, None);
        let channels = |route: &RouteConfig| route.grip.clone().unwrap().channels;
        let [a, rest] = &config.sites[0].routes[..] else { panic!() };
        assert_eq!(channels(a), ["all", "news", "x, \"y"]);
        assert!(channels(rest).is_empty());
    }

    #[test]
    fn a_rule_may_have_a_key_of_its_own_or_no_grip() {
        let routes = "\
*,path_beg=/a,sig_key=base64:AAEC,sig_iss=me a:80
*,path_beg=/b,sig_key=\"${HOME} \\\"\" a:80
*,path_beg=/c,no_grip a:80,sub=x
*,path_beg=/d,no_grip,sig_key=base64:?,sig_iss= a:80,over_http
*,path_beg=/e a:80
";
        let (text, config) = imported(routes, Some("[proxy]\nsig_key=base64:?\n"));
        let known = |path: &str| {
            let route = config.sites[0].routes.iter().find(|route| route.path == path).unwrap();
            (route.websockets, route.grip.clone().map(|grip| (grip.key, grip.issuer)))
        };
        let key = |key: &[u8]| Some(Signing::By(SigningKey::secret(key)));
        assert_eq!(known("/a"), (Websockets::Grip, Some((key(&[0, 1, 2]), Some("me".into())))));
        assert_eq!(known("/b"), (Websockets::Grip, Some((key(b"${HOME} \""), None))));
        assert_eq!(known("/c"), (Websockets::Through, None));
        assert_eq!(known("/d"), (Websockets::OverHttp, Some((None, None))));
        assert_eq!(known("/e"), (Websockets::Grip, Some((None, None))));
        for said in ["sub=x", "no_grip: ", "sig_key: what"] {
            assert!(text.contains(&format!("not taken over: {said}")), "{said}\n{text}");
        }
        assert!(text.contains("grip: { issuer: \"pushpin\" }\n"), "{text}");
    }

    #[test]
    fn a_key_in_a_file_is_named_from_the_folder_of_pushpins_own() {
        let source = |text| Source { text, folder: Path::new("/etc/pushpin") };
        let routes = source("*,path_beg=/a,sig_key=file:a.pem a:80\n* a:80\n");
        let conf = source("[proxy]\nsig_key=file:/keys/all.pem\n");
        let text = import(routes, Some(conf));
        assert!(text.contains("        grip: { key: \"file:/etc/pushpin/a.pem\" }\n"), "{text}");
        assert!(text.contains("grip: { key: \"file:/keys/all.pem\", issuer: \"pushpin\" }\n"), "{text}");
        assert!(!text.contains("# not taken over"), "{text}");
    }

    #[test]
    fn a_rule_for_websockets_alone_is_a_pool_of_the_route_for_the_rest() {
        let routes = "\
h,proto=ws,prefix=x-,path_beg=/ ws:80,over_http,sub=all
h,proto=http http:80
*,proto=ws alone:80
*,path_beg=/t test
*,path_beg=/t,proto=ws a:80
";
        let (text, config) = imported(routes, None);
        let site = |name: &str| config.sites.iter().find(|site| site.name == name).unwrap();
        let [both] = &site("h").routes[..] else { panic!("{text}") };
        assert_eq!((&both.action, both.websockets), (&Action::Pool("http-80".into()), Websockets::OverHttp));
        assert_eq!(both.websocket_pool.as_deref(), Some("ws-80"));
        assert_eq!(both.grip.as_ref().unwrap().channels, ["all"]);
        let [alone, tested] = &site("*").routes[..] else { panic!("{text}") };
        assert_eq!(tested.action, Action::Pool("a-80".into()));
        assert!(!text.contains("not taken over: path_beg"), "{text}");
        assert_eq!((&alone.action, &alone.websocket_pool), (&Action::Pool("alone-80".into()), &None));
        for said in ["prefix of the rule with proto=ws", "proto=ws: a route"] {
            assert!(text.contains(&format!("not taken over: {said}")), "{said}\n{text}");
        }
        assert!(!text.contains("not taken over: proto=http"), "{text}");
    }

    #[test]
    fn a_rule_for_websockets_counts_more_than_a_longer_path() {
        let routes = "\
h,proto=ws ws:80,over_http
h,path_beg=/api api:80
h,path_beg=/api/live,proto=ws live:80
i,path_beg=/live,proto=ws live:80
i,path_beg=/,replace_beg=/x rest:80
";
        let (text, config) = imported(routes, None);
        let routes = |name: &str| {
            let site = config.sites.iter().find(|site| site.name == name).unwrap();
            let route = |route: &RouteConfig| {
                let Action::Pool(pool) = &route.action else { panic!("{text}") };
                (route.path.clone(), pool.clone(), route.websocket_pool.clone())
            };
            site.routes.iter().map(route).collect::<Vec<_>>()
        };
        let route = |path: &str, pool: &str, sockets: Option<&str>| {
            (path.to_owned(), pool.to_owned(), sockets.map(str::to_owned))
        };
        assert_eq!(
            routes("h"),
            [
                route("/", "ws-80", None),
                route("/api", "api-80", Some("ws-80")),
                route("/api/live", "api-80", Some("live-80")),
            ]
        );
        assert_eq!(routes("i"), [route("/live", "live-80", None), route("/", "rest-80", None)]);
        assert!(text.contains("socket_message: 200000B"), "{text}");
    }

    #[test]
    fn what_can_not_stand_in_a_configuration_is_said_and_left_out() {
        let routes = "\
example.com:8080 a:80
h,path_beg=\"/a b\" a:80
h,header=Connection:close,header=Grip-Sig: a:80,ssl a:80 a:80
*,prefix=\"a\u{1}\" a:99999 b:80
";
        let conf = "[runner]\nhttp_port=80,[::1]:81,localhost,80\nclient_buffer_size=999999999999\n\
                    [handler]\npush_in_http_addr=::1\n[proxy]\nsig_iss=\n";
        let (text, config) = imported(routes, Some(conf));
        assert_eq!(config.listen.len(), 2, "{text}");
        assert!(text.contains("control: \"[::1]:5561\"\n"), "{text}");
        for said in [
            "the rule for example.com:8080/",
            "the rule for h/a b",
            "header=Connection",
            "header=Grip-Sig",
            "prefix=a",
            "the rule for */, target a:99999",
            "http_port=localhost",
            "client_buffer_size=",
            "sig_iss=",
        ] {
            assert!(text.contains(&format!("not taken over: {said}")), "{said}\n{text}");
        }
        assert_eq!(config.pools["a-80"].servers.len(), 1, "{text}");
        let nowhere = "[handler]\npush_in_http_addr=nowhere\npush_in_http_port=x\n";
        let (text, _) = imported("* a:80\n", Some(nowhere));
        assert!(text.contains("control: 127.0.0.1:5561\n"), "{text}");
    }

    #[test]
    fn the_host_that_an_application_sees_is_that_of_its_target_or_of_the_rule() {
        let routes = "\
*,path_beg=/a,as_host=rule.example:81 a:80
*,path_beg=/b,as_host=rule.example,header=host:x,header=X-A:1,header=x-a:2 a:80,host=target.example
*,path_beg=/c,as_host= a:80
";
        let (text, config) = imported(routes, None);
        let set = |path: &str| {
            let route = config.sites[0].routes.iter().find(|route| route.path == path).unwrap();
            format!("{:?}", route.edge.request)
        };
        assert!(set("/a").contains("\"rule.example:81\""), "{text}");
        assert!(set("/b").contains("\"target.example\"") && !set("/b").contains("rule.example"), "{text}");
        assert!(set("/b").contains("\"2\"") && !set("/b").contains("\"1\""), "{text}");
        assert_eq!(set("/c"), "[]");
        assert!(!text.contains("not taken over:"), "{text}");
    }

    #[test]
    fn conveniences_for_pages_of_other_origins_are_those_of_the_route() {
        let routes = "\
*,path_beg=/a,aco,jsonp_mode=basic,jsonp_cb=cb,jsonp_body=message,jsonp_defcb=jsonpcallback,jsonp_defmethod=PUT a:80
*,path_beg=/b,aco,jsonp_mode=odd,jsonp_cb=\"a b\",jsonp_defmethod=BREW a:80
*,path_beg=/c,jsonp_cb=cb,debug a:80
";
        let (text, config) = imported(routes, None);
        let route = |path: &str| config.sites[0].routes.iter().find(|route| route.path == path).unwrap();
        let jsonp = route("/a").edge.jsonp.as_ref().unwrap();
        assert_eq!((jsonp.callback.as_str(), jsonp.argument), ("cb", JsonpArgument::Body));
        assert_eq!(
            (jsonp.body.as_deref(), jsonp.default_callback.as_deref()),
            (Some("message"), Some("jsonpcallback"))
        );
        assert_eq!(jsonp.method.as_ref().map(|method| method.as_str()), Some("PUT"));
        assert_eq!(route("/b").edge.jsonp, Some(JsonpConfig::default()));
        assert!(route("/a").edge.cross_origin && route("/b").edge.cross_origin);
        assert!(route("/c").debug && !route("/b").debug);
        assert!(!route("/c").edge.cross_origin && route("/c").edge.jsonp.is_none());
        for said in ["jsonp_mode=odd", "jsonp_cb=a b", "jsonp_defmethod=BREW", "jsonp_cb: without aco"] {
            assert!(text.contains(&format!("not taken over: {said}")), "{said}\n{text}");
        }
        let (_, config) = imported("* a:80\n", Some("[proxy]\nauto_cross_origin=true\n"));
        assert!(config.sites[0].routes[0].edge.cross_origin);
    }

    #[test]
    fn nothing_that_is_typed_can_become_yaml() {
        let (_, config) = imported("*,header=\"X-A: b\\\"\\nlisten: ${HOME} # \" localhost:80\n", None);
        assert_eq!(config.listen.len(), 1);
        let (text, _) = imported("", None);
        assert!(text.contains("upstream: http://127.0.0.1:80"), "{text}");
    }
}
