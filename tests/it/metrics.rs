//! The metrics that operators see after a few requests.

use crate::support::{EventSource, Origin, Perihelion, Reply};

#[test]
fn every_documented_family_that_has_a_value_is_printed_with_its_type() {
    let proxy = Perihelion::before(&Origin::replying(|_| Reply::ok("")));
    proxy.get("/");
    let text = proxy.metrics();
    for family in [
        "# TYPE perihelion_requests_total counter",
        "# TYPE perihelion_request_duration_seconds histogram",
        "# TYPE perihelion_upstream_connections gauge",
        "# TYPE perihelion_comet_streams gauge",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(text.contains(family), "{family}\n{text}");
    }
    let version = env!("CARGO_PKG_VERSION");
    proxy.wait_metric("perihelion_build_info", &[("version", version)], 1.0);
    proxy.wait_metric("perihelion_state", &[("state", "running")], 1.0);
}

#[test]
fn requests_are_counted_by_site_method_code_and_protocol() {
    let origin = Origin::replying(|request| match request.target() {
        "/missing" => Reply::status("404 Not Found", "none"),
        _ => Reply::ok("12345"),
    });
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    for target in ["/", "/", "/missing"] {
        raw.get(target);
    }
    raw.send("BREW / HTTP/1.1\r\nHost: a\r\n\r\n");
    raw.answer();
    for (method, code, count) in [("GET", "200", 2.0), ("GET", "404", 1.0), ("OTHER", "200", 1.0)] {
        let labels = [("site", "*"), ("method", method), ("code", code), ("protocol", "h1")];
        proxy.wait_metric("perihelion_requests_total", &labels, count);
    }
    proxy.wait_metric("perihelion_request_duration_seconds_count", &[("code_class", "2xx")], 3.0);
    proxy.wait_metric("perihelion_response_ttfb_seconds_count", &[], 4.0);
    proxy.wait_metric("perihelion_response_bytes_total", &[], 19.0);
    proxy.wait_metric("perihelion_requests_in_flight", &[], 0.0);
    proxy.wait_metric("perihelion_upstream_requests_total", &[("code_class", "2xx")], 3.0);
    proxy.wait_metric("perihelion_connections_open", &[], 1.0);
    drop(raw);
    proxy.wait_metric("perihelion_connections_open", &[], 0.0);
}

#[test]
fn a_held_stream_leaves_the_request_histograms_when_it_is_taken_over() {
    let origin = Origin::replying(|_| Reply::hold("news").with("X-Comet-Transport", "sse"));
    let proxy = Perihelion::before(&origin);
    let events = EventSource::open(proxy.http(), "/");
    proxy.wait_subscribers("news", 1);
    proxy.wait_metric("perihelion_request_duration_seconds_count", &[], 1.0);
    proxy.wait_metric("perihelion_requests_total", &[("code", "200")], 1.0);
    proxy.wait_metric("perihelion_requests_in_flight", &[], 0.0);
    proxy.wait_metric("perihelion_connections_open", &[], 0.0);
    proxy.wait_metric("perihelion_comet_streams", &[("transport", "sse")], 1.0);
    proxy.wait_metric("perihelion_comet_takeovers_total", &[("result", "ok")], 1.0);
    proxy.wait_metric("perihelion_comet_stream_duration_seconds_count", &[], 0.0);
    drop(events);
    proxy.wait_metric("perihelion_comet_stream_duration_seconds_count", &[("transport", "sse")], 1.0);
    proxy.wait_metric("perihelion_request_duration_seconds_count", &[], 1.0);
}

#[test]
fn deliveries_and_history_are_counted() {
    let origin = Origin::replying(|_| Reply::hold("news").with("X-Comet-Transport", "ndjson"));
    let proxy = Perihelion::before(&origin);
    let mut raw = proxy.connect();
    raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    raw.head();
    proxy.wait_subscribers("news", 1);
    proxy.publish("news", "12345");
    raw.chunk();
    proxy.wait_metric("perihelion_comet_deliveries_total", &[("transport", "ndjson")], 1.0);
    proxy.wait_metric("perihelion_comet_fanout_seconds_count", &[], 1.0);
    proxy.wait_metric("perihelion_comet_publish_bytes_total", &[], 5.0);
    proxy.wait_metric("perihelion_comet_history_events", &[], 1.0);
    assert!(proxy.metric("perihelion_comet_history_bytes", &[]) >= 5.0);
    assert!(proxy.metric("perihelion_control_requests_total", &[("code_class", "2xx")]) >= 1.0);
}
