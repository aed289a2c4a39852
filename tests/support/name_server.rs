//! A name server that gives every name one address, which a test may change; and whether a proxy can be made to ask it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Place;

pub(crate) struct NameServer {
    address: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// At the usual port of a place. `None`, with a word about it, where this process may not have that port, or not
    /// give a command a `resolv.conf` of its own.
    pub(crate) fn start(test: &str, place: &Place, address: Ipv4Addr) -> Option<NameServer> {
        let may = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|done| done.success());
        let socket = UdpSocket::bind(SocketAddr::new(place.http().ip(), 53)).ok().filter(|_| may);
        let Some(socket) = socket else {
            eprintln!("{test} is skipped: only root may be a name server, and show it to one process");
            return None;
        };
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = Arc::new(AtomicU32::new(address.to_bits()));
        let over = Arc::new(AtomicBool::new(false));
        let (now, ended) = (address.clone(), over.clone());
        let thread = std::thread::spawn(move || serve(&socket, &now, &ended));
        Some(NameServer { address, over, thread: Some(thread) })
    }

    /// The address of every name from now on.
    pub(crate) fn set(&self, address: Ipv4Addr) {
        self.address.store(address.to_bits(), Ordering::SeqCst);
    }

    /// What a command is put behind so that it asks this server.
    pub(crate) fn shown_to(place: &Place) -> Vec<String> {
        let IpAddr::V4(ip) = place.http().ip() else { panic!("places are in 127.0.0.0/8") };
        let file = place.folder.write("resolv.conf", &format!("nameserver {ip}\n"));
        let script = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", file.display());
        ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).into()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.thread.take().map(JoinHandle::join);
    }
}

fn serve(socket: &UdpSocket, address: &AtomicU32, over: &AtomicBool) {
    let mut question = [0; 512];
    while !over.load(Ordering::SeqCst) {
        let Ok((length, asker)) = socket.recv_from(&mut question) else { continue };
        if let Some(answer) = answer(&question[..length], Ipv4Addr::from_bits(address.load(Ordering::SeqCst)))
        {
            // Whoever asked asks again.
            let _ = socket.send_to(&answer, asker);
        }
    }
}

/// To the first question, with an address where one of IPv4 is asked for (RFC 1035 §4).
fn answer(question: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let name = question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let end = 12 + name + 5;
    let kind = question.get(12 + name + 1..end)?;
    let has_address = kind[..2] == [0, 1];
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend_from_slice(&question[12..end]);
    if has_address {
        // The name of the question, an address of the Internet, for no longer than now, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
