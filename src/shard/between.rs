//! Connections whose hold is over, until their clients ask again: a client that polls does so at once, and asks for the
//! same.
//!
//! Its socket stays where it is watched. What comes is handed home, unread but for its bytes, with the connection; and
//! whoever serves it there gives the connection back, if it is held again, before anybody had to wait for its socket.
//! So a poll that is answered and comes again costs one event and no change of what is watched. A client that stays
//! silent for a while goes home without a request, where it may be silent for as long as any other.

use std::io;
use std::time::Duration;

use super::cold::{Cold, Manner};
use super::event_loop::{EventLoop, ticks};
use super::held::{Held, Reason, Stage};
use crate::hold::Return;
use crate::wire::Mooring;

/// Longer than a client takes who asks again as soon as it is answered, over almost any line, and short beside the
/// patience with idle connections.
const STAY: Duration = Duration::from_secs(1);

impl EventLoop {
    /// The hold is over, and its channels are left.
    pub(super) fn stay(&mut self, key: usize) {
        let held = &mut self.held[key];
        held.stage = Stage::Between;
        held.cold.manner = Manner::Stream(None);
        if !held.cold.read_ahead.is_empty() || held.wire.socket().is_none() {
            return self.send_home(key, Duration::ZERO);
        }
        self.wheel.schedule(key, self.tick + ticks(STAY));
    }

    /// The client asks for something, or leaves. Whether there may be more than is read at once, which isn't announced
    /// again: the end that a client says behind its last request.
    pub(super) fn hear_next(&mut self, key: usize, has_more: bool) {
        let held = &mut self.held[key];
        match held.wire.read(&mut self.read_buffer, &mut self.scratch) {
            Ok(0) => self.cut(key, Reason::Client),
            Ok(count) => {
                held.cold.read_ahead = self.read_buffer[..count].to_vec();
                // Under TLS a read ends with a record, whatever lies behind it.
                let is_all = !has_more && count < self.read_buffer.len() && !held.wire.is_tls();
                if is_all { self.send_home_moored(key) } else { self.send_home(key, Duration::ZERO) }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.cut(key, Reason::Client),
        }
    }

    /// The client asks for nothing.
    pub(super) fn has_stayed(&mut self, key: usize) {
        self.send_home(key, STAY);
    }

    /// Home, and known here no more.
    fn send_home(&mut self, key: usize, silence: Duration) {
        self.wheel.cancel(key);
        if let Some(held) = self.held.remove(key) {
            self.deregister(&held);
            go_home(held, silence, None);
        }
    }

    fn send_home_moored(&mut self, key: usize) {
        self.wheel.cancel(key);
        if let Some(held) = self.held.vacate(key) {
            go_home(held, Duration::ZERO, Some(Mooring::new(self.inbox(), key as u32)));
        }
    }

    /// Gives keys of connections that don't come back to others.
    pub(super) fn take_released(&mut self) {
        let mut released = std::mem::take(&mut self.released);
        self.inbox().take_released(&mut released);
        released.drain(..).for_each(|key| self.held.release(key as usize));
        self.released = released;
    }

    /// Who has asked for nothing is owed nothing.
    pub(super) fn close_those_between(&mut self) {
        let between = |key: &usize| self.held.get(*key).is_some_and(|held| held.stage == Stage::Between);
        let keys: Vec<usize> = self.held.keys().filter(between).collect();
        keys.into_iter().for_each(|key| self.forget(key));
    }
}

fn go_home(held: Held, silence: Duration, mooring: Option<Mooring>) {
    let Cold { read_ahead, permit, home, .. } = *held.cold;
    let back = Return { wire: held.wire, mooring, read_ahead, silence, permit, passport: home.passport };
    if home.desk.try_send(back).is_err() {
        tracing::debug!("a connection could not go home and was closed");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::atomic::Ordering;

    use super::super::tests::{House, read_until, wait};
    use super::*;
    use crate::transport;

    /// A client whose poll has been answered.
    fn answered(house: &House) -> TcpStream {
        let mut client = house.hold("news", |hold| hold.transport = transport::LONG_POLL);
        house.wait_for_readers("news", 1);
        answer(house, &mut client);
        client
    }

    fn answer(house: &House, client: &mut TcpStream) {
        house.publish("news", &["x"]);
        read_until(client, "]}");
    }

    /// Holds what has come home as a poll again.
    fn hold_again(house: &House, back: Return) {
        let mut hold = house.wish("news");
        hold.transport = transport::LONG_POLL;
        house.keep(back.wire, back.mooring, back.passport, hold);
        house.wait_for_readers("news", 1);
    }

    #[test]
    fn a_client_that_asks_again_goes_home_with_its_request_and_comes_back_to_its_place() {
        let mut house = House::new();
        let mut client = answered(&house);
        for request in ["GET /one", "GET /two", "GET /three"] {
            client.write_all(request.as_bytes()).unwrap();
            let back = house.returns.blocking_recv().unwrap();
            assert_eq!((&*back.read_ahead, back.silence), (request.as_bytes(), Duration::ZERO));
            assert!(back.mooring.is_some());
            hold_again(&house, back);
            answer(&house, &mut client);
        }
    }

    #[test]
    fn what_a_client_says_while_it_is_away_is_heard_when_it_is_back() {
        let mut house = House::new();
        let mut client = answered(&house);
        client.write_all(b"GET /one").unwrap();
        let back = house.returns.blocking_recv().unwrap();
        client.write_all(b"GET /two").unwrap();
        // It turns, so that it has heard of the second before the connection is back.
        drop(answered(&house));
        hold_again(&house, back);
        house.publish("news", &["y"]);
        let back = house.returns.blocking_recv().unwrap();
        assert_eq!(back.read_ahead, b"GET /two");
        drop(back);
        assert_eq!(client.read_to_end(&mut Vec::new()).map(|_| ()).ok(), Some(()));
        wait(|| house.held.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn a_client_that_leaves_with_its_request_is_known_to_have_left() {
        let mut house = House::new();
        let mut client = answered(&house);
        client.write_all(b"GET /one").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let back = house.returns.blocking_recv().unwrap();
        let mut hold = house.wish("news");
        hold.transport = transport::LONG_POLL;
        house.keep(back.wire, back.mooring, back.passport, hold);
        drop(back.permit);
        wait(|| house.held.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn a_place_is_another_ones_once_its_connection_stays_away() {
        let mut house = House::new();
        for _ in 0..3 {
            let mut client = answered(&house);
            client.write_all(b"GET /one").unwrap();
            let back = house.returns.blocking_recv().unwrap();
            drop(back);
            assert_eq!(client.read(&mut [0]).ok().filter(|read| *read > 0), None);
        }
        let mut client = answered(&house);
        client.write_all(b"GET /one").unwrap();
        let back = house.returns.blocking_recv().unwrap();
        hold_again(&house, back);
        answer(&house, &mut client);
    }

    #[test]
    fn a_client_that_asks_for_nothing_goes_home_after_a_while_and_one_that_leaves_does_not() {
        let mut house = House::new();
        let (silent, leaving) = (answered(&house), answered(&house));
        drop(leaving);
        let back = house.returns.blocking_recv().unwrap();
        assert_eq!((back.read_ahead.len(), back.silence, back.mooring.is_some()), (0, STAY, false));
        assert_eq!(silent.local_addr().unwrap(), back.passport.peer());
        drop(back);
        wait(|| house.held.load(Ordering::Relaxed) == 0);
        assert!(house.returns.try_recv().is_err());
    }

    #[test]
    fn a_drain_closes_those_who_have_asked_for_nothing() {
        let house = House::new();
        let mut client = answered(&house);
        house.drain(Duration::from_secs(60));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}
