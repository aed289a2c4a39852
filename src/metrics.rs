//! Every metric: name, unit, labels and help, registered once; rooms hold handles and never look one up.
//!
//! Labels come from closed sets (configured names and words of this program), never from a peer. A request
//! that ends in a hold is observed at take-over; what is held afterwards counts under `perihelion_comet_*`.

use std::sync::Arc;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// All metrics of the process.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

impl std::ops::Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.0
    }
}

/// Declares the families: one field each, with kind, name, help, and labels or buckets.
macro_rules! families {
    ($($field:ident: $kind:ident($name:literal, $help:literal $(, [$($label:literal),*])? $(, $buckets:ident)?);)*) => {
        /// The metric families by field.
        pub struct Families {
            registry: Registry,
            $(#[doc = $help] pub $field: families!(@type $kind),)*
        }

        impl Families {
            fn register() -> Result<Families, prometheus::Error> {
                let registry = Registry::new();
                $(
                    let $field = families!(@make $kind, $name, $help $(, [$($label),*])? $(, $buckets)?)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Families { registry, $($field),* })
            }
        }

        /// Name and help of every family, for the check against `docs/metrics.md`.
        pub const NAMES: &[(&str, &str)] = &[$(($name, $help)),*];
    };
    (@type counter) => { IntCounter };
    (@type gauge) => { IntGauge };
    (@type histogram) => { Histogram };
    (@type counters) => { IntCounterVec };
    (@type gauges) => { IntGaugeVec };
    (@type histograms) => { HistogramVec };
    (@make counter, $name:literal, $help:literal) => { IntCounter::new($name, $help) };
    (@make gauge, $name:literal, $help:literal) => { IntGauge::new($name, $help) };
    (@make counters, $name:literal, $help:literal, [$($label:literal),*]) => {
        IntCounterVec::new(Opts::new($name, $help), &[$($label),*])
    };
    (@make gauges, $name:literal, $help:literal, [$($label:literal),*]) => {
        IntGaugeVec::new(Opts::new($name, $help), &[$($label),*])
    };
    (@make histogram, $name:literal, $help:literal, $buckets:ident) => {
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets($buckets.to_vec()))
    };
    (@make histograms, $name:literal, $help:literal, [$($label:literal),*], $buckets:ident) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets($buckets.to_vec()), &[$($label),*])
    };
}

families! {
    build_info: gauges("perihelion_build_info", "Always 1; the version is in the label.", ["version"]);
    state: gauges("perihelion_state", "1 for the state that the process is in.", ["state"]);
    config_reloads: counters("perihelion_config_reloads_total", "Reloads by result.", ["result"]);
    config_last_reload_successful: gauge("perihelion_config_last_reload_successful", "Whether the last reload was taken.");
    config_last_reload_success_timestamp: gauge("perihelion_config_last_reload_success_timestamp_seconds", "When a configuration was last taken, in Unix time.");
    log_lines_dropped: counters("perihelion_log_lines_dropped_total", "Lines that a log could not take in time.", ["log"]);
    process_resident_memory: gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
    process_cpu_seconds: counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
    process_open_fds: gauge("process_open_fds", "Number of open file descriptors.");
    process_max_fds: gauge("process_max_fds", "Maximum number of open file descriptors.");
    process_start_time: gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");

    connections_open: gauges("perihelion_connections_open", "Client connections that are open, held ones left out.", ["listener"]);
    connections_accepted: counters("perihelion_connections_accepted_total", "Client connections accepted.", ["listener"]);
    connections_rejected: counters("perihelion_connections_rejected_total", "Client connections refused, by reason.", ["listener", "reason"]);
    http2_floods: counters("perihelion_http2_floods_total", "HTTP/2 connections ended for what their clients did too often, by kind.", ["kind"]);
    slow_readers: counter("perihelion_slow_readers_total", "Client connections that were cut because an answer was taken too slowly.");
    tls_handshakes: counters("perihelion_tls_handshakes_total", "TLS handshakes by result.", ["listener", "result"]);
    tls_certificate_not_after: gauges("perihelion_tls_certificate_not_after_timestamp_seconds", "When a certificate ends, in Unix time.", ["certificate"]);
    requests: counters("perihelion_requests_total", "Requests answered, a take-over included.", ["site", "method", "code", "protocol"]);
    requests_in_flight: gauges("perihelion_requests_in_flight", "Requests that wait for their answer or receive it.", ["site"]);
    request_duration: histograms("perihelion_request_duration_seconds", "From the head of a request to the end of its answer, or to its take-over.", ["site", "code_class"], REQUEST_SECONDS);
    response_ttfb: histograms("perihelion_response_ttfb_seconds", "From the head of a request to the head of its answer.", ["site"], REQUEST_SECONDS);
    request_bytes: counters("perihelion_request_bytes_total", "Bytes of request bodies.", ["site"]);
    response_bytes: counters("perihelion_response_bytes_total", "Bytes of response bodies.", ["site"]);
    request_errors: counters("perihelion_request_errors_total", "Requests that the proxy answered itself, by reason.", ["site", "reason"]);

    site_maintenance: gauges("perihelion_site_maintenance", "1 while a site is closed by the control port.", ["site"]);
    addresses_forgotten: counter("perihelion_addresses_forgotten_total", "Addresses whose requests were forgotten because limits.per_address.addresses was reached.");

    upstream_requests: counters("perihelion_upstream_requests_total", "Answers of servers by class of status.", ["pool", "server", "code_class"]);
    upstream_response: histograms("perihelion_upstream_response_seconds", "From the request sent to the head of the server's answer.", ["pool", "server"], REQUEST_SECONDS);
    upstream_connect: histograms("perihelion_upstream_connect_seconds", "Time to connect to a server.", ["pool"], CONNECT_SECONDS);
    upstream_connections: gauges("perihelion_upstream_connections", "Connections to servers, busy or idle.", ["pool", "server", "state"]);
    upstream_connections_opened: counters("perihelion_upstream_connections_opened_total", "Connections opened to servers.", ["pool", "server"]);
    upstream_connections_reused: counters("perihelion_upstream_connections_reused_total", "Requests that went over a kept connection.", ["pool", "server"]);
    upstream_errors: counters("perihelion_upstream_errors_total", "What went wrong with servers, by reason.", ["pool", "server", "reason"]);
    upstream_up: gauges("perihelion_upstream_up", "Whether a server may be used.", ["pool", "server"]);
    upstream_ejections: counters("perihelion_upstream_ejections_total", "How often a server was left out because it failed.", ["pool", "server"]);
    upstream_health_checks: counters("perihelion_upstream_health_checks_total", "Questions to servers whether they are well, by result.", ["pool", "server", "result"]);
    upstream_retries: counters("perihelion_upstream_retries_total", "Requests sent again, by reason.", ["pool", "reason"]);
    upstream_retry_budget_exhausted: counters("perihelion_upstream_retry_budget_exhausted_total", "Requests that were not sent again because too many had been.", ["pool"]);
    queue_length: gauges("perihelion_queue_length", "Requests that wait for a connection.", ["pool", "class"]);
    queue_wait: histograms("perihelion_queue_wait_seconds", "How long requests that had to wait did so.", ["pool", "class"], QUEUE_SECONDS);
    queue_rejected: counters("perihelion_queue_rejected_total", "Requests that left the queue without a connection, by reason.", ["pool", "reason"]);

    reproxied: counters("perihelion_reproxy_total", "Answers that said where the rest of them lies, by kind and result.", ["pool", "kind", "result"]);
    reproxy_passed_over: counters("perihelion_reproxy_urls_passed_over_total", "URLs that did not have what an answer said.", ["pool"]);
    reproxy_cache: counters("perihelion_reproxy_cache_total", "Requests looked up among remembered answers, by result.", ["pool", "result"]);
    reproxy_cache_entries: gauges("perihelion_reproxy_cache_entries", "Answers remembered.", ["pool"]);

    buffer_limit: gauge("perihelion_buffer_limit_bytes", "Memory that bodies may wait in.");
    buffer_bytes: gauges("perihelion_buffer_bytes", "Memory that bodies wait in, by direction.", ["kind"]);
    buffer_disk_bytes: gauge("perihelion_buffer_disk_bytes", "Bytes of the nameless files that bodies wait in.");
    buffer_spills: counters("perihelion_buffer_spills_total", "Bodies that went to a file, by direction.", ["kind"]);
    buffer_full: counters("perihelion_buffer_full_total", "Times that a body found no room, so that its sender had to wait, by direction.", ["kind"]);
    buffer_disk_errors: counter("perihelion_buffer_disk_errors_total", "Files that could not be made, written or read.");

    comet_streams: gauges("perihelion_comet_streams", "Connections held.", ["transport"]);
    comet_streams_opened: counters("perihelion_comet_streams_opened_total", "Connections taken over.", ["transport"]);
    comet_streams_closed: counters("perihelion_comet_streams_closed_total", "Held connections that ended, by reason.", ["transport", "reason"]);
    comet_stream_duration: histograms("perihelion_comet_stream_duration_seconds", "How long connections were held.", ["transport"], HELD_SECONDS);
    comet_takeovers: counters("perihelion_comet_takeovers_total", "Instructions to hold, by result.", ["site", "result"]);
    comet_tickets: counters("perihelion_comet_tickets_total", "Tickets given, and brought back by clients, by what became of them.", ["site", "result"]);
    comet_revocations: counters("perihelion_comet_revocations_total", "Revocations, by what they named.", ["by"]);
    comet_revocations_forgotten: counter("perihelion_comet_revocations_forgotten_total", "Revocations that made room because tickets.revocations was reached, so that all tickets of before are void.");
    comet_channels: gauge("perihelion_comet_channels", "Channels that live.");
    comet_subscriptions: gauge("perihelion_comet_subscriptions", "Subscriptions: held connections times their channels.");
    comet_publishes: counters("perihelion_comet_publishes_total", "Publish requests by result.", ["result"]);
    comet_publish_bytes: counter("perihelion_comet_publish_bytes_total", "Bytes of published data.");
    comet_publish_no_subscriber: counter("perihelion_comet_publish_no_subscriber_total", "Messages published to a channel without subscribers.");
    comet_messages: counter("perihelion_comet_messages_total", "Messages numbered.");
    comet_deliveries: counters("perihelion_comet_deliveries_total", "Messages handed to sockets.", ["transport"]);
    comet_delivery_bytes: counters("perihelion_comet_delivery_bytes_total", "Bytes handed to held sockets.", ["transport"]);
    comet_slow_streams: gauge("perihelion_comet_slow_streams", "Held connections whose socket is full.");
    comet_gaps: counters("perihelion_comet_gaps_total", "Gaps that subscribers were told of.", ["transport"]);
    comet_replays: counters("perihelion_comet_replays_total", "Subscriptions that began in the past, by result.", ["result"]);
    comet_replay_events: counter("perihelion_comet_replay_events_total", "Messages delivered from history.");
    comet_history_bytes: gauge("perihelion_comet_history_bytes", "Bytes of messages kept.");
    comet_history_events: gauge("perihelion_comet_history_events", "Messages kept.");
    comet_history_evicted: counter("perihelion_comet_history_evicted_total", "Messages dropped early because all channels together reached limits.history_bytes.");
    comet_quota_refusals: counters("perihelion_comet_quota_refusals_total", "Publishes and held connections refused by a quota, by quota.", ["quota"]);
    comet_publisher_ids: gauge("perihelion_comet_publisher_ids", "Publishers' ids remembered.");
    comet_publisher_ids_forgotten: counter("perihelion_comet_publisher_ids_forgotten_total", "Publishers' ids forgotten because there were more than channels.publisher_ids.");
    presence_members: gauge("perihelion_presence_members", "Members that are on a watched channel, those within their grace included.");
    presence_changes: counters("perihelion_presence_changes_total", "Members that joined or left a watched channel.", ["change"]);
    presence_refused: counter("perihelion_presence_refused_total", "Connections that are no members because presence[].members or all_members was reached.");
    presence_lost: counters("perihelion_presence_lost_total", "Joins and leaves that were not told, because too many waited or their channel's name became too long.", ["way"]);
    grip_filters: counters("perihelion_grip_filter_questions_total", "Questions of filters to their URLs, by what came of them.", ["result"]);
    presence_posts: counters("perihelion_presence_posts_total", "Attempts to post joins and leaves to the application, by result.", ["result"]);
    bayeux_sessions: gauge("perihelion_bayeux_sessions", "Bayeux sessions that live.");
    bayeux_sessions_ended: counters("perihelion_bayeux_sessions_ended_total", "Bayeux sessions that ended, by reason.", ["reason"]);
    bayeux_rulings: counters("perihelion_bayeux_rulings_total", "What Bayeux clients wanted to do at routes that ask an application, by what was said to it.", ["ruling"]);
    store_append: histogram("perihelion_store_append_seconds", "Time that the store takes to keep a group of messages, its sync included.", STORE_SECONDS);
    store_bytes: gauge("perihelion_store_bytes", "Bytes of the store's files.");
    store_errors: counters("perihelion_store_errors_total", "What the store could not do, by reason.", ["reason"]);
    store_connected: gauge("perihelion_store_connected", "1 while a store that several nodes share can be reached, 0 while it can't.");
    comet_keepalives: counter("perihelion_comet_keepalives_total", "Keep-alives sent.");
    comet_words: counter("perihelion_comet_words_total", "Messages of clients on held WebSockets that were taken.");
    comet_words_carried: counters("perihelion_comet_words_carried_total", "Messages of clients on held WebSockets that were for the application, by what became of them.", ["site", "result"]);
    comet_words_waited: counter("perihelion_comet_words_waited_total", "Times that a client on a held WebSocket was not read on, since whoever listens to it was behind or it did not take what it was told.");
    comet_out_of_order: gauge("perihelion_comet_out_of_order", "Items of GRIP that wait for the one before them.");
    comet_recoveries: counters("perihelion_comet_recoveries_total", "Questions to applications for what clients held by GRIP may lack, by result.", ["result"]);
    comet_recovering: gauge("perihelion_comet_recovering", "Clients held by GRIP whose application is being asked for what they may lack.");
    comet_fanout: histogram("perihelion_comet_fanout_seconds", "From the order given to a message to the last write of the turn that delivered it.", FANOUT_SECONDS);
    control_requests: counters("perihelion_control_requests_total", "Requests on the control port by class of status.", ["code_class"]);
    panics: counter("perihelion_panics_total", "Panics, each of which has ended a connection or a request of the control port: a bug that should be reported.");
    control_refused: counters("perihelion_control_refused_total", "Requests on the control port that were refused: token (missing or wrong), forbidden (no role for it, or it may come from a web page), tls (no handshake).", ["reason"]);
}

/// Seconds of a request: interactive below 0.1, slow above 1, stuck at 60.
const REQUEST_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Seconds of a connect: a local network takes under one millisecond, a lost packet one second.
const CONNECT_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Seconds in a queue.
const QUEUE_SECONDS: &[f64] = &[0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];
/// Seconds of a held connection, from a poll to a day.
const HELD_SECONDS: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0];
/// Seconds of a write with its sync: a fast disk takes a tenth of a millisecond, a busy one some hundred.
const STORE_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Seconds of a fan-out.
const FANOUT_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

impl Metrics {
    /// Registers every family in a registry of its own.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        Ok(Metrics(Arc::new(Families::register()?)))
    }

    /// The Prometheus text format, version 0.0.4.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_registers_under_a_name_of_its_own_and_is_printed() {
        let metrics = Metrics::new().unwrap();
        metrics.comet_keepalives.inc();
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        assert!(text.contains("perihelion_comet_keepalives_total 1"));
        for (name, help) in NAMES {
            assert!(name.starts_with("perihelion_") || name.starts_with("process_"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }
}
