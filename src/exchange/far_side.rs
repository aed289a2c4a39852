//! A WebSocket that the application speaks itself, with GRIP's extension: what both sides say goes through here, and the
//! client is held, so that publishers reach it.
//!
//! The application's connection belongs to a task of its own for as long as the application wants to hear of its client.
//! Neither side is read while the other one is behind.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use hyper::http::request::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;

use super::check::Asked;
use super::forward::Answer as Upstream;
use super::forwarding::to_client;
use super::grip::origin_where_asked;
use super::holding::unfit;
use super::record::Record;
use super::refusal::Refusal;
use super::tunnel::tunnel;
use super::{Context, Outcome};
use crate::hold::grip::{Native, Script, Tongue};
use crate::hold::{
    Answer, Asked as AskedToHold, ClientSide, End, Instruction, Keeper, Line, Said, Speech, TakeOver,
    WORDS_AHEAD, Words, moment,
};
use crate::upstream::{Socket, Tunnelled};

/// The application's side of such a WebSocket.
pub struct FarSide {
    far: Tunnelled,
    native: Native,
}

/// Words to the client that are not with its system before the application is read again.
const UNSENT_MAX: usize = 16;
/// Bytes on their way to the application before more of the client's is taken.
const OUT_MAX: usize = 64 * 1024;
const BUFFER: usize = 16 * 1024;
/// How long an application may take to hear of the end.
const FAREWELL: Duration = Duration::from_secs(10);

/// What is said of the client while it is told to the application: words that have receipts, and what becomes of as many
/// as may be under way.
pub const SAID_MAX: usize = 2 * (WORDS_AHEAD + UNSENT_MAX) + 8;

/// Makes a WebSocket of a `101`: one of GRIP where the application has agreed to it, or the route has channels for its
/// clients whatever the application says; else a tunnel.
pub(super) fn take(
    ctx: &Context<'_>,
    (parts, asked): (&Parts, &Asked),
    upstream: Upstream,
    record: &mut Record,
) -> Result<Outcome, Refusal> {
    let tongue = Tongue::agreed(&upstream.head.headers, ctx.route.channels.clone());
    if !tongue.is_grip() && ctx.route.always_on().is_empty() {
        return tunnel(upstream, record).map(Outcome::Left);
    }
    let Upstream { mut head, lease, forwarded_at, .. } = upstream;
    let far = lease.into_tunnel().ok_or(Refusal::Truncated)?;
    let (now, at) = (ctx.keeper.head(), moment());
    let wish = AskedToHold { headers: &parts.headers, upgrade: true, query: None, forwarded_at, now, at };
    let nothing = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
    let side = ClientSide { version: parts.version, keep_alive: asked.keep_alive };
    let mut hold = Instruction::socket().hold(wish, nothing, side).map_err(unfit)?;
    hold.speaks_grip(origin_where_asked(ctx, parts), ctx.route.channels.clone(), forwarded_at);
    let permit = ctx.keeper.admit(&hold.wishes)?;
    to_client(&mut head.headers, false);
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(hyper::header::SEC_WEBSOCKET_EXTENSIONS);
    hold.answer.headers = head.headers;
    hold.subject = record.held(hold.answer.status);
    let native = Native::new(tongue, ctx.rules.hold_body);
    Ok(Outcome::Joined(TakeOver::Hold(Box::new(hold), permit), Box::new(FarSide { far, native })))
}

/// Why nothing more is carried.
enum Over {
    /// The client is gone.
    Client(End),
    /// The application has closed it, or wants to hear no more.
    Application,
    /// Its connection broke.
    Broken,
}

impl FarSide {
    /// Carries what both sides say until one of them ends, or the application lets go. Dropping it closes its connection.
    pub async fn carry(self, line: Line, mut said: mpsc::Receiver<Said>, keeper: &dyn Keeper) {
        let FarSide { far, native } = self;
        // What is left of it is its place among the pool's connections, which is given back at the end.
        let Tunnelled { socket, read_ahead, .. } = far;
        let (reader, writer) = split(socket);
        let mut carrying = Carrying { native, line, reader, writer, out: Vec::new(), unsent: 0 };
        let first = carrying.speak(&read_ahead, keeper);
        let over = match first {
            Some(over) => over,
            None => carrying.run(&mut said, keeper).await,
        };
        match &over {
            Over::Client(end) => Native::tell_end(end, &mut carrying.out),
            Over::Application => Native::tell_end(&End::Spoken, &mut carrying.out),
            Over::Broken => return carrying.line.speak(Speech::Cut),
        }
        let farewell = async {
            carrying.writer.write_all(&carrying.out).await?;
            carrying.writer.shutdown().await
        };
        // Whatever comes of it, the connection is closed.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

/// Both directions.
struct Carrying {
    native: Native,
    line: Line,
    reader: ReadHalf<Socket>,
    writer: WriteHalf<Socket>,
    /// Frames for the application.
    out: Vec<u8>,
    unsent: usize,
}

impl Carrying {
    async fn run(&mut self, said: &mut mpsc::Receiver<Said>, keeper: &dyn Keeper) -> Over {
        let mut buffer = vec![0; BUFFER];
        loop {
            let over = tokio::select! {
                said = said.recv(), if self.out.len() < OUT_MAX => self.hear(said),
                read = self.reader.read(&mut buffer), if self.unsent < UNSENT_MAX => match read {
                    Ok(0) | Err(_) => Some(Over::Broken),
                    Ok(bytes) => self.speak(&buffer[..bytes], keeper),
                },
                written = self.writer.write(&self.out), if !self.out.is_empty() => self.wrote(written),
            };
            if let Some(over) = over {
                return over;
            }
        }
    }

    /// Of the client.
    fn hear(&mut self, said: Option<Said>) -> Option<Over> {
        match said {
            Some(Said::Words(Words { kind, data, receipt })) => {
                Native::tell(kind, &data, &mut self.out);
                drop(receipt);
                None
            }
            Some(Said::Sent(messages)) => {
                self.unsent = self.unsent.saturating_sub(messages);
                None
            }
            Some(Said::Here(_) | Said::Wanted | Said::Missing(_)) => None,
            Some(Said::Over(end)) => Some(Over::Client(end)),
            None => Some(Over::Client(End::Lost)),
        }
    }

    /// Of the application.
    fn speak(&mut self, bytes: &[u8], keeper: &dyn Keeper) -> Option<Over> {
        let Script { speeches, ends, detaches } = self.native.hears(bytes, keeper.head().sequence);
        for speech in speeches {
            self.unsent += usize::from(matches!(speech, Speech::Frames(_)));
            self.line.speak(speech);
        }
        (ends || detaches).then_some(Over::Application)
    }

    fn wrote(&mut self, written: io::Result<usize>) -> Option<Over> {
        match written {
            Ok(bytes) if bytes > 0 => {
                self.out.drain(..bytes);
                None
            }
            Ok(_) | Err(_) => Some(Over::Broken),
        }
    }
}
