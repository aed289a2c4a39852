//! Holds counted for the addresses that they come from, where that is configured.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Crowd, Departure, Keeper, Permit, Tickets};
use crate::message::{ChannelName, Position, Start};
use crate::quota::{Full, Quota};

/// The keeper as one client finds it, whose address has so many places.
pub struct Counting<'a> {
    /// Who holds.
    pub keeper: &'a dyn Keeper,
    /// Who counts.
    pub quota: &'a Arc<Quota>,
    /// The client's.
    pub address: IpAddr,
}

impl Keeper for Counting<'_> {
    fn head(&self) -> Position {
        self.keeper.head()
    }

    fn admit(&self, wishes: &[(ChannelName, Start)]) -> Result<Permit, Crowd> {
        let guest = self.quota.hold(self.address).map_err(|Full| Crowd::Address)?;
        let mut permit = self.keeper.admit(wishes)?;
        permit.keep(guest);
        Ok(permit)
    }

    fn held(&self) -> usize {
        self.keeper.held()
    }

    fn keep_socket(&self, departure: Box<Departure>) {
        self.keeper.keep_socket(departure);
    }

    fn tickets(&self) -> Option<&Tickets> {
        self.keeper.tickets()
    }
}
