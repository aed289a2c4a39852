//! Wires against a real TLS client, over loopback sockets, every byte compared.

mod peer;
mod streams;

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::thread;

use super::{Fault, Scratch};
use peer::{AES_128, AES_256, ALL, BUFFER, Kind, Turns, connected, fault, fill, noise, spawn_slow_reader};

#[test]
fn every_byte_arrives_though_records_are_half_sent() {
    for kind in ALL {
        let (mut wire, client) = connected(kind);
        socket2::SockRef::from(wire.socket().unwrap()).set_send_buffer_size(BUFFER).unwrap();
        let sent = noise(700_001);
        let reader = spawn_slow_reader(client, sent.len());
        let mut turns = Turns::of(&wire);
        let (mut at, mut half_sent) = (0, 0);
        let lengths = [150, 20_000, 1, 16_384, 100_000, 16_385];
        for round in 0.. {
            // Whole runs of different lengths, each offered until it is out, as a shard would.
            let end = (at + lengths[round % lengths.len()]).min(sent.len());
            while at < end {
                let (first, second) = sent[at..end].split_at((end - at) / 3);
                match wire.write2(first, second, &mut turns.scratch) {
                    Ok(count) => at += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => turns.wait(),
                    Err(error) => panic!("{kind:?}: {error}"),
                }
                half_sent += usize::from(wire.half_sent() > 0);
                assert!(wire.half_sent() <= 48 << 10);
            }
            if at == sent.len() {
                break;
            }
        }
        wire.close();
        assert!(reader.join().unwrap() == sent, "{kind:?}: other bytes arrived");
        assert_eq!(half_sent > 0, kind != Kind::Plain, "{kind:?}: nothing was half sent, nothing was tested");
    }
}

#[test]
fn every_byte_of_the_client_arrives_whatever_the_size_of_the_buffer() {
    for kind in ALL {
        for size in [1, 100, 16_384, 40_000] {
            let (mut wire, mut client) = connected(kind);
            let sent = noise(if size == 1 { 20_000 } else { 200_000 });
            let expected = sent.clone();
            let writer = thread::spawn(move || {
                for part in sent.chunks(7_001) {
                    client.write_all(part).unwrap();
                }
                client.end();
                client
            });
            let mut turns = Turns::of(&wire);
            let mut arrived = Vec::new();
            while turns.read(&mut wire, size, &mut arrived).unwrap() > 0 {}
            assert!(arrived == expected, "{kind:?} in reads of {size}");
            assert!(matches!(wire.read(&mut [0], &mut turns.scratch), Ok(0)), "{kind:?}: an end stays one");
            drop(writer.join().unwrap());
        }
    }
}

#[test]
fn many_slices_are_one_run_of_bytes() {
    for kind in ALL {
        let (mut wire, client) = connected(kind);
        let sent = noise(30_000);
        let reader = spawn_slow_reader(client, sent.len());
        let slices: Vec<_> = sent.chunks(11).map(IoSlice::new).collect();
        let count = wire.write_vectored(&slices, &mut Scratch::new()).unwrap();
        assert_eq!(count, sent.len());
        wire.close();
        assert!(reader.join().unwrap() == sent, "{kind:?}");
    }
}

#[test]
fn other_bytes_than_those_of_a_half_sent_record_are_never_sealed() {
    let wrong: [fn(Vec<u8>) -> Vec<u8>; 2] = [
        |mut bytes| {
            bytes[0] ^= 1;
            bytes
        },
        |bytes| bytes[..1].to_vec(),
    ];
    for spoil in wrong {
        let (mut wire, _client) = connected(AES_128);
        let mut scratch = Scratch::new();
        let rest = fill(&mut wire, &mut scratch);
        let outcome = wire.write(&spoil(rest), &mut scratch);
        assert_eq!(fault(outcome), Fault::OtherBytes);
    }
}

#[test]
fn a_goodbye_is_an_end_and_so_is_the_end_of_the_stream() {
    for kind in ALL {
        for say_goodbye in [true, false] {
            let (mut wire, mut client) = connected(kind);
            client.write_all(b"last words").unwrap();
            if say_goodbye {
                client.end();
            }
            client.socket().shutdown(Shutdown::Write).unwrap();
            let mut turns = Turns::of(&wire);
            let mut arrived = Vec::new();
            while turns.read(&mut wire, 64, &mut arrived).unwrap() > 0 {}
            assert_eq!(arrived, b"last words", "{kind:?} {say_goodbye}");
        }
    }
}

#[test]
fn a_client_reads_a_clean_end_after_close() {
    for kind in ALL {
        let (mut wire, mut client) = connected(kind);
        wire.write(b"bye", &mut Scratch::new()).unwrap();
        wire.close();
        let mut arrived = Vec::new();
        // rustls calls an end without close_notify an error.
        client.read_to_end(&mut arrived).unwrap();
        assert_eq!(arrived, b"bye", "{kind:?}");
    }
}

#[test]
fn new_keys_end_the_connection_after_what_came_before_them() {
    let (mut wire, mut client) = connected(AES_256);
    client.write_all(b"before").unwrap();
    client.tls().conn.refresh_traffic_keys().unwrap();
    client.write_all(b"behind").unwrap();
    let mut turns = Turns::of(&wire);
    let mut arrived = Vec::new();
    let outcome = loop {
        match turns.read(&mut wire, 64, &mut arrived) {
            Ok(count) => assert!(count > 0),
            Err(error) => break Err::<(), _>(error),
        }
    };
    assert_eq!(fault(outcome), Fault::Handshake(24));
    assert_eq!(arrived, b"before");
    wire.close();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the client is told with a close_notify");
}

#[test]
fn what_is_no_record_of_the_client_ends_the_connection() {
    use rustls::AlertDescription as Alert;
    let table: [(&[u8], Fault, Option<Alert>); 5] = [
        (b"\x17\x03\x03\x00\x20 not sealed with anybody's keys...", Fault::BadMac, Some(Alert::BadRecordMac)),
        (b"\x17\x03\x03\x41\x01", Fault::Oversized, Some(Alert::RecordOverflow)),
        (b"\x15\x03\x03\x00\x02\x02\x50", Fault::Unexpected(21), Some(Alert::UnexpectedMessage)),
        (b"GET / HTTP/1.1\r\n\r\n", Fault::NotTls, Some(Alert::DecodeError)),
        (b"\x17\x03\x03\x00\x20 cut", Fault::Truncated, None),
    ];
    for (bytes, expected, alert) in table {
        let (mut wire, mut client) = connected(AES_128);
        client.socket().write_all(bytes).unwrap();
        client.socket().shutdown(Shutdown::Write).unwrap();
        let outcome = Turns::of(&wire).read(&mut wire, 64, &mut Vec::new());
        assert_eq!(fault(outcome), expected);
        wire.close();
        let seen = client.read(&mut [0]);
        match alert {
            Some(alert) => {
                let error = seen.unwrap_err();
                let told = error.get_ref().and_then(|inner| inner.downcast_ref());
                assert_eq!(told, Some(&rustls::Error::AlertReceived(alert)));
            }
            None => assert_eq!(seen.unwrap(), 0),
        }
    }
}
