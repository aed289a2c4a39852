//! What a route says of the channels of its application: what stands before their names, and which clients are always on.

use crate::message::ChannelName;

/// The same for everybody who is held by the route's application.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteChannels {
    prefix: Option<Box<str>>,
    /// Each once.
    always: Box<[ChannelName]>,
}

impl RouteChannels {
    /// A prefix for the names that the application says, and names as publishers say them. `None` where the route says
    /// nothing.
    pub fn new(prefix: Option<&str>, mut always: Vec<ChannelName>) -> Option<RouteChannels> {
        always.sort();
        always.dedup();
        let says = prefix.is_some() || !always.is_empty();
        says.then(|| RouteChannels { prefix: prefix.map(Box::from), always: always.into() })
    }

    /// What stands before the names that the application says.
    pub fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// A name as the application says it.
    pub fn own_name<'n>(&self, name: &'n ChannelName) -> &'n str {
        let known = name.as_str();
        match self.prefix() {
            Some(prefix) if !self.always.contains(name) => known.strip_prefix(prefix).unwrap_or(known),
            _ => known,
        }
    }

    /// What clients of GRIP are on, whatever the application says.
    pub fn always(&self) -> &[ChannelName] {
        &self.always
    }
}
