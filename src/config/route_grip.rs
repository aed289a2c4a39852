//! `grip` of a route: what its clients get, whatever the application says.

use super::form;
use super::section::{Key, Section};

/// How GRIP is understood on a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteGrip {
    /// Names of channels that clients held by GRIP are on besides those that the application says.
    pub channels: Vec<String>,
}

/// The keys of a route's `grip`.
pub(super) static ROUTE_GRIP: Section<RouteGrip> = Section {
    short: None,
    required: &[],
    keys: &[Key::new("channels", |grip, value| {
        value.each_of_some(|item| grip.channels.extend(item.read(&form::NAME)));
    })],
};
