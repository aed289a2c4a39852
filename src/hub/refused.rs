//! Why nothing was done.

use crate::message::{ChannelName, Position};
use crate::store::{LogError, StoreError};

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A new channel would be one too many.
    #[error("all {limit} channels are in use")]
    TooManyChannels {
        /// [`HubSettings::channels`](super::HubSettings::channels).
        limit: usize,
    },
    /// The last message of a channel is another than its publisher believed.
    #[error("the channel's last message is another")]
    Unexpected {
        /// The message of the batch, from 0.
        item: usize,
        /// The channel's last message, as long as it is known.
        last: Option<Position>,
    },
    /// A new channel would be one too many for its rule.
    #[error("all {limit} channels of {rule:?} are in use")]
    RuleChannels {
        /// The first pattern of the rule.
        rule: Box<str>,
        /// [`Rule::channels`](super::Rule::channels).
        limit: usize,
    },
    /// The channels of a rule keep as much as they may.
    #[error("the channels of {rule:?} may keep {limit} bytes of messages")]
    RuleFull {
        /// The first pattern of the rule.
        rule: Box<str>,
        /// [`Rule::bytes`](super::Rule::bytes).
        limit: usize,
    },
    /// A message is too large for its channel.
    #[error("a message of this channel has at most {limit} bytes")]
    TooLarge {
        /// The message of the batch, from 0.
        item: usize,
        /// [`Policy::message`](super::Policy::message).
        limit: usize,
    },
    /// A channel has as many readers as it may.
    #[error("channel {channel} has all of its {limit} subscribers")]
    TooManySubscribers {
        /// Which.
        channel: ChannelName,
        /// [`Policy::subscribers`](super::Policy::subscribers).
        limit: usize,
    },
    /// Publishers are faster than the store.
    #[error("too many messages wait for the store")]
    TooMuchWaits,
    /// The store has no room for it.
    #[error("{0}")]
    StoreFull(String),
    /// The store could not keep it.
    #[error("{0}")]
    StoreFailed(String),
    /// The store was lost while it took it: it may appear, once.
    #[error("{0}")]
    Unsure(String),
    /// The process is ending.
    #[error("the process is ending")]
    Ending,
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        match error {
            StoreError::Full(_) => Refused::StoreFull(error.to_string()),
            StoreError::Failed(_) => Refused::StoreFailed(error.to_string()),
        }
    }
}

impl From<LogError> for Refused {
    fn from(error: LogError) -> Refused {
        match error {
            LogError::Full(_) => Refused::StoreFull(error.to_string()),
            LogError::Lost(_) => Refused::Unsure(error.to_string()),
            _ => Refused::StoreFailed(error.to_string()),
        }
    }
}
