//! In which channels a held connection is, and where.

use crate::hub::ChannelId;

/// The channels of a connection, and its place in each one's list of members.
pub(super) enum Memberships {
    One { channel: ChannelId, place: u32 },
    Many(Box<Several>),
}

/// Rare enough to be a box away.
#[derive(Default)]
pub(super) struct Several {
    channels: Box<[ChannelId]>,
    places: Box<[u32]>,
}

impl Memberships {
    pub(super) fn channels(&self) -> &[ChannelId] {
        match self {
            Memberships::One { channel, .. } => std::slice::from_ref(channel),
            Memberships::Many(several) => &several.channels,
        }
    }

    /// Of these channels, in these places.
    pub(super) fn new(channels: &[ChannelId], places: &[u32]) -> Memberships {
        match (channels, places) {
            (&[channel], &[place]) => Memberships::One { channel, place },
            _ => Memberships::Many(Box::new(Several { channels: channels.into(), places: places.into() })),
        }
    }

    /// With one more, in this place.
    pub(super) fn and(&self, channel: ChannelId, place: u32) -> Memberships {
        let (channels, places): (Vec<_>, Vec<_>) = self.pairs().chain([(channel, place)]).unzip();
        Memberships::new(&channels, &places)
    }

    /// Without one, and the place that it had there.
    pub(super) fn without(&self, left: ChannelId) -> Option<(Memberships, u32)> {
        let place = self.pairs().find(|(channel, _)| *channel == left)?.1;
        let (channels, places): (Vec<_>, Vec<_>) =
            self.pairs().filter(|(channel, _)| *channel != left).unzip();
        Some((Memberships::new(&channels, &places), place))
    }

    /// None: it has left them.
    pub(super) fn none() -> Memberships {
        Memberships::Many(Box::default())
    }

    /// Every channel with the place in it.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (ChannelId, u32)> {
        let places = match self {
            Memberships::One { place, .. } => std::slice::from_ref(place),
            Memberships::Many(several) => &several.places,
        };
        self.channels().iter().copied().zip(places.iter().copied())
    }

    /// Takes note that another place in a channel is its own now.
    pub(super) fn move_to(&mut self, channel: ChannelId, place: u32) {
        if let Some(own) = self.place(channel) {
            *own = place;
        }
    }

    /// The place in a channel that it is a member of.
    fn place(&mut self, wanted: ChannelId) -> Option<&mut u32> {
        match self {
            Memberships::One { channel, place } => (*channel == wanted).then_some(place),
            Memberships::Many(several) => {
                let index = several.channels.iter().position(|channel| *channel == wanted)?;
                several.places.get_mut(index)
            }
        }
    }
}
