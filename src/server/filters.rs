//! Asks the URLs of filters: those that are listed, as many at once as their entry allows, and each question once for all
//! who ask it at a time.
//!
//! What waits here needs no bound of its own: a held connection has one question out. Whoever waits longer than its entry
//! allows, for a place or for the answer, is ruled out, so that a URL that says nothing holds up nobody but those who ask
//! it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::config::{Config, FilterConfig, KeepaliveConfig, PostUrl};
use crate::hold::grip::{Asks, Question, Ruling};
use crate::hold::{Line, Speech};
use crate::metrics::Metrics;
use crate::site::Snapshots;
use crate::upstream::{Poster, Unposted};

/// Whoever asks, for all shards.
pub(super) struct Filters {
    letters: Mutex<Vec<Letter>>,
    bell: Notify,
    terms: ArcSwap<Terms>,
    metrics: Metrics,
}

/// A question, the URL for which its client has asked, and where the answer goes.
type Letter = (Question, Box<str>, Line);

/// Those who ask, by what they ask and as whom.
type Asked = Rc<RefCell<HashMap<(Question, Option<HeaderValue>), Vec<Line>>>>;

/// What a configuration says about it.
struct Terms {
    urls: Vec<Listed>,
    /// Bytes of what may stand in a message's place.
    message: usize,
}

/// URLs that may be asked.
struct Listed {
    config: FilterConfig,
    places: Semaphore,
    poster: Poster,
}

/// Why nobody could say anything.
#[derive(Debug, thiserror::Error)]
enum Unruled {
    #[error("no entry of grip.filters lists it")]
    Unlisted,
    #[error("the question can't be written")]
    Unwritten,
    #[error(transparent)]
    Unposted(#[from] Unposted),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it took too long")]
    Late,
}

/// Between two looks at connections that nobody uses.
const SWEEP: Duration = Duration::from_secs(1);

impl Filters {
    pub(super) fn new(config: &Config, metrics: &Metrics) -> Arc<Filters> {
        let terms = ArcSwap::from_pointee(Terms::new(config));
        Arc::new(Filters { letters: Mutex::default(), bell: Notify::new(), terms, metrics: metrics.clone() })
    }

    /// Takes another configuration for what is asked from now on.
    pub(super) fn reconfigure(&self, config: &Config) {
        self.terms.store(Arc::new(Terms::new(config)));
    }

    /// Asks, until it is dropped; by the snapshot in use it is known how an application knows the proxy.
    pub(super) async fn run(self: Arc<Self>, snapshots: Snapshots) {
        let asked = Asked::default();
        let mut tasks = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = self.bell.notified() => {}
                Some(_) = tasks.join_next() => continue,
                _ = sweep.tick() => {
                    self.terms.load().urls.iter().for_each(|listed| listed.poster.sweep());
                    continue;
                }
            }
            for (question, origin, line) in std::mem::take(&mut *self.letters.lock()) {
                let token = snapshots.load().identity_for(&origin).and_then(|identity| identity.token());
                let asks = (question, token);
                let mut lines = asked.borrow_mut();
                if let Some(others) = lines.get_mut(&asks) {
                    others.push(line);
                    continue;
                }
                lines.insert(asks.clone(), vec![line]);
                tasks.spawn_local(self.clone().answer(asks, asked.clone()));
            }
        }
    }

    async fn answer(self: Arc<Self>, asks: (Question, Option<HeaderValue>), asked: Asked) {
        let (question, token) = &asks;
        let ruled = self.terms.load_full().rule(question, token.as_ref()).await;
        let (ruling, word) = match ruled {
            Ok(Ruling::Drop) => (Ruling::Drop, "dropped"),
            Ok(ruling) => (ruling, "passed"),
            Err(error) => {
                tracing::debug!(url = %question.url, %error, "a filter can't be applied, and a message is left out");
                (Ruling::Drop, if matches!(error, Unruled::Unlisted) { "unlisted" } else { "failed" })
            }
        };
        self.metrics.grip_filters.with_label_values(&[word]).inc();
        let lines = asked.borrow_mut().remove(&asks).unwrap_or_default();
        lines.iter().for_each(|line| line.speak(Speech::Ruled(ruling.clone())));
    }
}

impl Asks for Filters {
    fn ask(&self, question: Question, origin: &str, line: Line) {
        self.letters.lock().push((question, origin.into(), line));
        self.bell.notify_one();
    }
}

impl Terms {
    fn new(config: &Config) -> Terms {
        let grip = config.grip.as_ref();
        let listed = |config: &FilterConfig| Listed {
            config: config.clone(),
            places: Semaphore::new(config.concurrent.get()),
            poster: Poster::new(&KeepaliveConfig::default(), config.roots.clone()),
        };
        Terms {
            urls: grip.map_or_else(Vec::new, |grip| grip.filters.iter().map(listed).collect()),
            message: config.limits.message,
        }
    }

    async fn rule(&self, question: &Question, token: Option<&HeaderValue>) -> Result<Ruling, Unruled> {
        let url = PostUrl::read(&question.url).ok_or(Unruled::Unlisted)?;
        let listed = self.urls.iter().filter(|listed| listed.lists(&url));
        let listed = listed.max_by_key(|listed| listed.config.url.target.len()).ok_or(Unruled::Unlisted)?;
        let asking = self.ask((question, token), listed, listed.leads(url));
        tokio::time::timeout(listed.config.timeout, asking).await.unwrap_or(Err(Unruled::Late))
    }

    async fn ask(
        &self,
        (question, token): (&Question, Option<&HeaderValue>),
        listed: &Listed,
        url: PostUrl,
    ) -> Result<Ruling, Unruled> {
        // Nobody closes it.
        let _place = listed.places.acquire().await.map_err(|_| Unruled::Late)?;
        let last_ids: Vec<String> =
            question.last_ids.iter().map(|(channel, id)| format!("{channel}; last-id={id}")).collect();
        let mut fields =
            vec![("sub-meta", question.client.as_bytes()), ("pub-meta", question.message.as_bytes())];
        fields.extend(last_ids.iter().map(|last| ("grip-last", last.as_bytes())));
        fields.extend(token.iter().map(|token| ("grip-sig", token.as_bytes())));
        if fields.iter().any(|(_, value)| HeaderValue::from_bytes(value).is_err()) {
            return Err(Unruled::Unwritten);
        }
        let content = question.content.clone().unwrap_or_default();
        let (head, body) = listed.poster.post(&url, &fields, content, self.message).await?;
        let drops = head.headers.get("action").is_some_and(|action| action == "drop");
        match head.status {
            StatusCode::OK | StatusCode::NO_CONTENT if drops => Ok(Ruling::Drop),
            StatusCode::OK if question.content.is_some() => Ok(Ruling::Replace(body)),
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(Ruling::Pass),
            status => Err(Unruled::Status(status)),
        }
    }
}

impl Listed {
    /// Whether a URL is one of these.
    fn lists(&self, url: &PostUrl) -> bool {
        let own = &self.config.url;
        (own.secure, own.port) == (url.secure, url.port)
            && own.host.eq_ignore_ascii_case(&url.host)
            && url.target.starts_with(&own.target)
    }

    /// Where it is asked.
    fn leads(&self, url: PostUrl) -> PostUrl {
        match &self.config.server {
            Some(server) => {
                let PostUrl { secure, host, port, .. } = server.clone();
                PostUrl { secure, host, port, ..url }
            }
            None => url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_listed_by_scheme_host_port_and_beginning() {
        let text = "listen: 127.0.0.1:0\nupstream: http://127.0.0.1:1\n\
                    grip: { filters: [{ url: 'https://Example.com/f/', server: 'http://10.0.0.5:8000' }] }\n";
        let config = Config::parse("t.yaml", text, &|_| None).unwrap();
        let terms = Terms::new(&config);
        let lists = |url: &str| terms.urls[0].lists(&PostUrl::read(url).unwrap());
        for (url, expected) in [
            ("https://example.com/f/", true),
            ("https://EXAMPLE.com:443/f/check?x=1", true),
            ("http://example.com/f/check", false),
            ("https://example.com:8443/f/check", false),
            ("https://example.com/", false),
            ("https://example.com/fx", false),
            ("https://example.com.evil/f/", false),
        ] {
            assert_eq!(lists(url), expected, "{url}");
        }
        let to = terms.urls[0].leads(PostUrl::read("https://example.com/f/check").unwrap());
        assert_eq!((to.secure, to.host.as_str(), to.port), (false, "10.0.0.5", 8000));
        assert_eq!((to.authority.as_str(), to.target.as_str()), ("example.com", "/f/check"));
    }
}
