//! What a held connection needs rarely, a box away: at its end, at a timer, when its client speaks.

use super::grip::Grip;
use super::socket::{Conversation, Farewell};
use super::talk::Talk;
use crate::access_log::Subject;
use crate::hold::{ClientSide, Ear, Home, Length, Permit, end_head};
use crate::message::Frame;
use crate::transport::Around;

// The allocator's next sizes are 128 and 160.
const _: () = assert!(size_of::<Cold>() <= 160);

/// What is needed rarely: at the end, at a timer, when the client speaks.
pub(super) struct Cold {
    /// Gives the place back on drop.
    pub(super) permit: Permit,
    pub(super) home: Home,
    pub(super) client: ClientSide,
    pub(super) subject: Option<Box<Subject>>,
    pub(super) manner: Manner,
    pub(super) read_ahead: Vec<u8>,
    /// Tick at which it was taken over.
    pub(super) since: u32,
    /// Tick at which a poll is answered, or a stream has lived long enough; `u32::MAX` for never.
    pub(super) until: u32,
    /// Status of the application's answer, for the log.
    pub(super) status: u16,
    /// How many channels it was taken over for.
    pub(super) channels: u16,
    /// Ticks of silence before a keep-alive; 0 for none.
    pub(super) keepalive: u32,
}

/// What a connection is, as far as it needs to keep something for it. Two variants, so that one fits between the
/// bytes of the other.
pub(super) enum Manner {
    Poll(PollAnswer),
    /// A stream, with what few have.
    Stream(Option<Box<Companion>>),
}

// The allocator's sizes beside these are 128 and 192.
const _: () = assert!(size_of::<With>() <= 128);
const _: () = assert!(size_of::<Companion>() <= 192);

/// What some streams have.
#[derive(Default)]
pub(super) struct Companion {
    /// Ears, where it is a WebSocket.
    pub(super) conversation: Option<Conversation>,
    /// What GRIP needs to know of it.
    pub(super) grip: Option<Grip>,
}

impl Cold {
    /// The answers of a poll.
    pub(super) fn poll(&self) -> Option<&PollAnswer> {
        match &self.manner {
            Manner::Poll(poll) => Some(poll),
            Manner::Stream(_) => None,
        }
    }

    /// Who answers it, where that isn't the hub.
    pub(super) fn ear(&mut self) -> Option<&mut Ear> {
        match &mut self.manner {
            Manner::Poll(poll) => poll.ear.as_deref_mut(),
            Manner::Stream(companion) => {
                let Companion { conversation, grip } = companion.as_deref_mut()?;
                match conversation {
                    Some(conversation) => Some(&mut *conversation.talk.as_deref_mut()?.ear),
                    None => Some(&mut grip.as_mut()?.linked_mut()?.ear),
                }
            }
        }
    }

    /// What a WebSocket's client and its listener have to say to each other.
    pub(super) fn talk(&mut self) -> Option<&mut Talk> {
        self.conversation()?.talk.as_deref_mut()
    }

    /// What a WebSocket's client has said.
    pub(super) fn conversation(&mut self) -> Option<&mut Conversation> {
        match &mut self.manner {
            Manner::Stream(Some(companion)) => companion.conversation.as_mut(),
            Manner::Stream(None) | Manner::Poll(_) => None,
        }
    }

    /// What GRIP needs to know of it.
    pub(super) fn grip(&mut self) -> Option<&mut Grip> {
        match &mut self.manner {
            Manner::Stream(companion) => companion.as_deref_mut()?.grip.as_mut(),
            Manner::Poll(poll) => match poll.with.as_deref_mut()? {
                With::Grip(grip) => Some(grip),
                With::Around(_) => None,
            },
        }
    }

    /// The same, to look at.
    pub(super) fn grip_here(&self) -> Option<&Grip> {
        match &self.manner {
            Manner::Stream(_) => self.grip_of_stream(),
            Manner::Poll(poll) => match poll.with.as_deref()? {
                With::Grip(grip) => Some(grip),
                With::Around(_) => None,
            },
        }
    }

    /// The same of a stream.
    pub(super) fn grip_of_stream(&self) -> Option<&Grip> {
        match &self.manner {
            Manner::Stream(companion) => companion.as_ref()?.grip.as_ref(),
            Manner::Poll(_) => None,
        }
    }

    /// Whether its application is being asked for what it may lack.
    pub(super) fn is_asking(&self) -> bool {
        match &self.manner {
            Manner::Stream(_) => self.grip_of_stream().is_some_and(|grip| grip.is_asking),
            Manner::Poll(poll) => matches!(poll.with.as_deref(), Some(With::Grip(grip)) if grip.is_asking),
        }
    }

    /// The same of a WebSocket, with what is said on it.
    pub(super) fn grip_socket(&mut self) -> Option<(&mut Grip, &mut Conversation)> {
        match &mut self.manner {
            Manner::Stream(Some(companion)) => {
                Some((companion.grip.as_mut()?, companion.conversation.as_mut()?))
            }
            Manner::Stream(None) | Manner::Poll(_) => None,
        }
    }

    /// Whether it has that.
    pub(super) fn has_grip(&self) -> bool {
        match &self.manner {
            Manner::Stream(companion) => companion.as_ref().is_some_and(|companion| companion.grip.is_some()),
            Manner::Poll(poll) => matches!(poll.with.as_deref(), Some(With::Grip(_))),
        }
    }

    /// The same of a poll, with the answer that it gets if nothing happens.
    pub(super) fn grip_poll(&mut self) -> Option<(&mut Grip, &Frame)> {
        match &mut self.manner {
            Manner::Poll(PollAnswer { with: Some(with), fallback, .. }) => match &mut **with {
                With::Grip(grip) => Some((grip, fallback)),
                With::Around(_) => None,
            },
            Manner::Poll(_) | Manner::Stream(_) => None,
        }
    }

    /// How a WebSocket is closed for what was said on it.
    pub(super) fn farewell(&self) -> Option<&Farewell> {
        match &self.manner {
            Manner::Stream(Some(companion)) => companion.conversation.as_ref()?.farewell.as_deref(),
            Manner::Stream(None) | Manner::Poll(_) => None,
        }
    }
}

/// The two answers that a poll may get.
pub(super) struct PollAnswer {
    /// The application's own, whole.
    pub(super) fallback: Frame,
    /// Status line and headers of an answer with messages, up to the framing.
    pub(super) head: Box<[u8]>,
    /// What makes such an answer another one for this client.
    pub(super) with: Option<Box<With>>,
    /// Who answers it, where that isn't the hub.
    pub(super) ear: Option<Box<Ear>>,
}

/// Bytes of the field with the longest length, of one of the connection, and of the empty line.
const FRAMING_MAX: usize = 64;

/// What makes the answer of a poll its own.
pub(super) enum With {
    /// It is wrapped.
    Around(Around),
    /// It is one of GRIP.
    Grip(Grip),
}

impl PollAnswer {
    /// The head of an answer whose body has so many bytes.
    pub(super) fn head_for(&self, length: usize, client: ClientSide) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.head.len() + FRAMING_MAX);
        head.extend_from_slice(&self.head);
        end_head(Length::Known(length), client, &mut head);
        head
    }

    /// Head and body, where the body is one that others share.
    pub(super) fn whole(&self, shared: &Frame, client: ClientSide) -> Frame {
        let body = self.body(shared);
        let head = self.head_for(body.payload().len(), client);
        Frame::raw([&head, body.payload()].concat())
    }

    /// The body of an answer as this client gets it: shared by all, but where it is wrapped.
    pub(super) fn body(&self, shared: &Frame) -> Frame {
        let Some(With::Around(around)) = self.with.as_deref() else { return shared.clone() };
        Frame::raw(around.wrap(shared.payload()))
    }
}
