//! Moments between two threads: a connect that is to be held, and nobody who could answer it yet.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hyper::header::HeaderMap;
use hyper::{Method, Version};
use serde_json::{Value, json};

use super::{Bayeux, Courier, Question, Reply, Terms};
use crate::config::BayeuxConfig;
use crate::hold::{ClientSide, Ear, End, Speaks, Speech};
use crate::hub::{Hub, HubSettings, Policy};
use crate::message::Epoch;
use crate::metrics::Metrics;

/// The shard of a hold: what it is told to say.
struct Shard(SyncSender<Speech>);

impl Speaks for Shard {
    fn speak(&self, _key: u32, _hold: u64, speech: Speech) {
        self.0.send(speech).unwrap();
    }
}

fn shard() -> (Arc<Shard>, Receiver<Speech>) {
    let (says, said) = sync_channel(10);
    (Arc::new(Shard(says)), said)
}

struct Room {
    bayeux: Arc<Bayeux>,
    terms: Arc<Terms>,
    _courier: Courier,
}

impl Room {
    fn new() -> Room {
        let settings = HubSettings {
            policies: Policy::keeping(10, None).into(),
            history_bytes: 1000,
            channels: 10,
            window_messages: 10,
            publisher_ids: 10,
        };
        let metrics = Metrics::new().unwrap();
        let bayeux = Bayeux::new(&Hub::new(Epoch(1), settings, metrics.clone()), 10, &metrics);
        let terms = Arc::new(Terms { route: BayeuxConfig::default(), message: 1000 });
        let _courier = Courier::start(&bayeux).unwrap();
        Room { bayeux, terms, _courier }
    }

    async fn ask(&self, message: Value) -> Reply {
        let body = json!([message]).to_string();
        let question = Question {
            method: &Method::POST,
            headers: &HeaderMap::new(),
            query: None,
            body: body.as_bytes(),
            client: ClientSide { version: Version::HTTP_11, keep_alive: true },
        };
        self.bayeux.ask(&self.terms, question, async |_| None).await.unwrap()
    }

    async fn answer(&self, message: Value) -> Value {
        let Reply::Answer(_, body) = self.ask(message).await else { panic!("it is held") };
        serde_json::from_slice::<Value>(&body).unwrap()[0].clone()
    }

    /// A client, and the ear of its connect, which nobody holds yet.
    async fn connecting(&self) -> (String, Box<Ear>) {
        let types = ["long-polling"];
        let handshake =
            json!({"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": types});
        let id = self.answer(handshake).await["clientId"].as_str().unwrap().to_owned();
        let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling"});
        assert_eq!(self.answer(connect.clone()).await["successful"], true, "the first is answered at once");
        let Reply::Hold(hold) = self.ask(connect).await else { panic!("it is not held") };
        (id, hold.ear.unwrap())
    }
}

#[tokio::test]
async fn a_connect_whose_client_disconnects_before_it_is_held_is_answered_when_it_is() {
    let room = Room::new();
    let (id, mut ear) = room.connecting().await;
    let gone = room.answer(json!({"channel": "/meta/disconnect", "clientId": id})).await;
    assert_eq!(gone["successful"], true, "{gone}");
    let (shard, said) = shard();
    ear.here(shard, 0);
    let Ok(Speech::Answer(body, 0)) = said.recv_timeout(Duration::from_secs(20)) else { panic!("no answer") };
    let reply = &serde_json::from_slice::<Value>(&body).unwrap()[0];
    assert_eq!((&reply["channel"], &reply["successful"]), (&json!("/meta/connect"), &json!(true)), "{reply}");
    assert_eq!(reply["advice"]["reconnect"], "none", "{reply}");
    ear.end(End::Answered);
    assert!(said.recv_timeout(Duration::from_millis(50)).is_err(), "it is told once");
}

#[tokio::test]
async fn a_connect_that_another_one_replaces_before_it_is_held_is_refused_when_it_is() {
    let room = Room::new();
    let (id, older) = room.connecting().await;
    let connect = json!({"channel": "/meta/connect", "clientId": id, "connectionType": "long-polling"});
    let Reply::Hold(_newer) = room.ask(connect).await else { panic!("it is not held") };
    let (shard, said) = shard();
    older.here(shard, 0);
    let refused = said.recv_timeout(Duration::from_secs(20));
    assert!(matches!(refused, Ok(Speech::Refuse)), "{refused:?}");
}
