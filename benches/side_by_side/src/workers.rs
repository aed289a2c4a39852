//! An application of the old kind: a few workers, each with one connection at a time and the same work for each request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// Workers that there are.
pub(crate) const WORKERS: usize = 4;
/// How long each request takes one of them.
pub(crate) const WORK: Duration = Duration::from_millis(20);
/// Length of every answer.
pub(crate) const BODY_BYTES: usize = 2;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
/// A connection without a request for so long gives its worker back, as `KeepAliveTimeout` does in Apache.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Serves until the process is ended.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("can't listen on {address}"))?;
    let listener = Arc::new(listener);
    let work = |listener: Arc<TcpListener>| {
        for socket in listener.incoming().flatten() {
            // Whatever ends a connection, the worker takes the next.
            let _ = attend(socket);
        }
    };
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            thread::spawn({
                let listener = listener.clone();
                move || work(listener)
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| drop(worker.join()));
    Ok(())
}

fn attend(mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(KEEP_ALIVE))?;
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..count]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            thread::sleep(WORK);
            socket.write_all(ANSWER)?;
        }
    }
}
