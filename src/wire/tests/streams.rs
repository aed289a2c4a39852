//! Connections that change hands between a wire and a stream in tokio.

use std::future::poll_fn;
use std::io::{IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::peer::{
    AES_128, ALL, BUFFER, CHACHA, Kind, Turns, accept, certified, connected, fault, fill, noise, pair,
    runtime, sockets, spawn_slow_reader,
};
use crate::wire::{Fault, Scratch, Unshaken, WireError, WireStream};

#[test]
fn a_connection_goes_to_and_fro_with_bytes_under_way() {
    for kind in ALL {
        let (mut wire, mut client) = connected(kind);
        let mut scratch = Scratch::new();
        for round in 0..3 {
            let request = noise(20_000 + round);
            client.write_all(&request).unwrap();
            // A record's first part is read by one owner, the rest by the next.
            let mut arrived = Vec::new();
            Turns::of(&wire).read(&mut wire, 5_000, &mut arrived).unwrap();
            wire = runtime().block_on(async {
                let mut stream = WireStream::from_wire(wire, None).unwrap();
                assert_eq!(stream.session().is_some(), kind == Kind::Tls12);
                let mut some = vec![0; 12_000 - arrived.len()];
                stream.read_exact(&mut some).await.unwrap();
                arrived.extend(some);
                stream.write_all(b"from the stream, ").await.unwrap();
                stream.into_wire().await.unwrap().0
            });
            let mut turns = Turns::of(&wire);
            while arrived.len() < request.len() {
                assert!(turns.read(&mut wire, 3_000, &mut arrived).unwrap() > 0);
            }
            assert!(arrived == request, "{kind:?} round {round}");
            wire.write(b"from the wire", &mut scratch).unwrap();
            let mut answer = [0; 30];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"from the stream, from the wire", "{kind:?} round {round}");
        }
    }
}

#[test]
fn what_came_with_the_request_is_read_after_the_take_over() {
    for kind in ALL {
        let (socket, mut client) = sockets(kind);
        let talk = thread::spawn(move || {
            client.write_all(b"first").unwrap();
            client.write_all(b"second").unwrap();
            client.write_all(&noise(17_000)).unwrap();
            client.end();
            client
        });
        let mut wire = runtime().block_on(async {
            let mut stream = accept(kind, socket).await;
            let mut first = [0; 3];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"fir");
            stream.into_wire().await.unwrap().0
        });
        assert!(kind == Kind::Plain || wire.holds_input());
        let mut turns = Turns::of(&wire);
        let mut arrived = Vec::new();
        while turns.read(&mut wire, 4_000, &mut arrived).unwrap() > 0 {}
        assert!(arrived == [b"stsecond", &noise(17_000)[..]].concat(), "{kind:?}");
        drop(talk.join().unwrap());
    }
}

#[test]
fn an_end_that_the_stream_has_seen_is_one_for_the_wire() {
    for kind in ALL {
        let (socket, mut client) = sockets(kind);
        let talk = thread::spawn(move || {
            client.write_all(b"all").unwrap();
            client.end();
            client
        });
        let mut wire = runtime().block_on(async {
            let mut stream = accept(kind, socket).await;
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"all");
            stream.into_wire().await.unwrap().0
        });
        assert_eq!(wire.read(&mut [0], &mut Scratch::new()).unwrap(), 0, "{kind:?}");
        drop(talk.join().unwrap());
    }
}

#[test]
fn a_client_that_leaves_behind_bytes_that_nobody_has_read_is_noticed_and_none_of_them_is_lost() {
    for kind in ALL {
        let (wire, mut client) = connected(kind);
        let sent = noise(40_000);
        client.write_all(&sent[..15_000]).unwrap();
        runtime().block_on(async {
            let mut stream = WireStream::from_wire(wire, None).unwrap();
            // What is there is no end, looked at again and again, nor what comes while it is waited for.
            for part in [15_000..25_000, 25_000..40_000] {
                stream.readable().await.unwrap();
                client.write_all(&sent[part]).unwrap();
                let wait = timeout(Duration::from_millis(20), poll_fn(|cx| stream.poll_left(cx)));
                assert!(wait.await.is_err(), "{kind:?}");
            }
            let mut arrived = vec![0; 1000];
            stream.read_exact(&mut arrived).await.unwrap();
            client.socket().shutdown(Shutdown::Write).unwrap();
            timeout(Duration::from_secs(20), poll_fn(|cx| stream.poll_left(cx))).await.expect("it has left");
            stream.read_to_end(&mut arrived).await.unwrap();
            assert!(arrived == sent, "{kind:?}: {} bytes", arrived.len());
        });
    }
}

#[test]
fn an_answer_to_new_keys_is_out_before_the_session_goes() {
    let (socket, mut client) = sockets(AES_128);
    let talk = thread::spawn(move || {
        client.write_all(b"old").unwrap();
        client.tls().conn.refresh_traffic_keys().unwrap();
        client.write_all(b"new").unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"held");
        client.write_all(b"more").unwrap();
        client
    });
    let mut wire = runtime().block_on(async {
        let mut stream = accept(AES_128, socket).await;
        let mut request = [0; 6];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"oldnew");
        stream.into_wire().await.unwrap().0
    });
    let mut turns = Turns::of(&wire);
    wire.write(b"held", &mut turns.scratch).unwrap();
    let mut arrived = Vec::new();
    turns.read(&mut wire, 64, &mut arrived).unwrap();
    assert_eq!(arrived, b"more");
    drop(talk.join().unwrap());
}

#[test]
fn a_stream_sends_what_it_sealed_even_if_other_bytes_are_offered_next() {
    for kind in ALL {
        let (mut wire, client) = connected(kind);
        wire.write(b"0", &mut Scratch::new()).unwrap();
        socket2::SockRef::from(wire.socket().unwrap()).set_send_buffer_size(BUFFER).unwrap();
        let sent = noise(400_000);
        let reader = spawn_slow_reader(client, 1 + sent.len());
        runtime().block_on(async {
            let mut stream = WireStream::from_wire(wire, None).unwrap();
            let mut at = 0;
            while at < sent.len() {
                // Now long, now short: `Pending` binds nobody to the same bytes.
                let length = if at % 2 == 0 { 40_000 } else { 7 };
                let end = (at + length).min(sent.len());
                let halves = sent[at..end].split_at((end - at) / 2);
                at += stream.write_vectored(&[IoSlice::new(halves.0), IoSlice::new(halves.1)]).await.unwrap();
            }
            stream.shutdown().await.unwrap();
        });
        assert!(reader.join().unwrap() == [b"0", &sent[..]].concat(), "{kind:?}");
    }
}

#[test]
fn a_client_is_told_why_its_stream_ends() {
    let (wire, mut client) = connected(AES_128);
    client.tls().conn.refresh_traffic_keys().unwrap();
    client.write_all(b"behind").unwrap();
    let outcome = runtime().block_on(async {
        let mut stream = WireStream::from_wire(wire, None).unwrap();
        stream.read(&mut [0; 9]).await
    });
    assert_eq!(fault(outcome), Fault::Handshake(24));
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "a close_notify");
}

#[test]
fn nobody_is_told_of_a_socket_before_somebody_has_to_wait() {
    let (socket, mut client) = pair();
    client.write_all(b"asked").unwrap();
    runtime().block_on(async {
        let mut stream = WireStream::plain(socket);
        stream.read_exact(&mut [0; 5]).await.unwrap();
        stream.write_all(b"answered").await.unwrap();
        assert!(stream.is_asleep());
        client.read_exact(&mut [0; 8]).unwrap();
        let asks_again = thread::spawn(move || client.write_all(b"again").map(|()| client));
        stream.read_exact(&mut [0; 5]).await.unwrap();
        drop(asks_again.join().unwrap());
        // Whether it had to wait then depends on the threads; now it has to.
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn a_half_sent_record_keeps_a_connection_where_its_plaintext_is() {
    let (mut wire, _client) = connected(CHACHA);
    fill(&mut wire, &mut Scratch::new());
    assert!(matches!(WireStream::from_wire(wire, None), Err(WireError::HalfSent)));
}

#[test]
fn keys_are_only_taken_where_the_configuration_allows_it() {
    let (socket, client) = sockets(AES_128);
    let talk = thread::spawn(move || {
        let mut client = client;
        client.write_all(b"hello").unwrap();
        client
    });
    let outcome = runtime().block_on(async {
        let mut config = (*certified().server(AES_128)).clone();
        config.enable_secret_extraction = false;
        let stream = WireStream::plain(socket).shake_hands(Arc::new(config)).await.unwrap();
        stream.into_wire().await
    });
    assert!(matches!(outcome, Err(WireError::KeysKept(_))));
    drop(talk.join().unwrap());
}

#[test]
fn a_client_that_speaks_no_tls_is_refused_at_its_first_bytes() {
    let (server, mut client) = pair();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let config = certified().server(AES_128);
    let outcome = runtime().block_on(async { WireStream::plain(server).shake_hands(config).await });
    let Err(Unshaken { error, plain }) = outcome else { panic!("a handshake by HTTP") };
    assert_eq!(plain.map(|(_, said)| said).as_deref(), Some(&b"GET / HTTP/1.1\r\n"[..]));
    assert_eq!(fault(Err::<(), _>(error)), Fault::NotTls);
}

#[test]
fn a_client_that_has_spoken_tls_before_has_said_nothing_plain() {
    let (server, mut client) = pair();
    // A record with the beginning of a ClientHello.
    client.write_all(b"\x16\x03\x01\x00\x02\x01\x00GET / HTTP/1.1\r\n").unwrap();
    let config = certified().server(AES_128);
    let outcome = runtime().block_on(async { WireStream::plain(server).shake_hands(config).await });
    let Err(Unshaken { error, plain: None }) = outcome else { panic!("half a handshake by HTTP") };
    assert_eq!(fault(Err::<(), _>(error)), Fault::NotTls);
}
