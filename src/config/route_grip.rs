//! `grip` of a route: whether GRIP is understood there, how its application knows the proxy, and what its clients get
//! whatever the application says.

use super::form;
use super::grip_key::{Signing, signing};
use super::problem::Place;
use super::section::{Key, Section, Value};
use super::tree::Content;

/// How GRIP is understood on a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteGrip {
    /// Signs `Grip-Sig` in the place of [`super::GripConfig::key`].
    pub key: Option<Signing>,
    /// Who it says that it is, in the place of [`super::GripConfig::issuer`].
    pub issuer: Option<String>,
    /// Names of channels that clients held by GRIP are on besides those that the application says.
    pub channels: Vec<String>,
}

/// The same as it was typed.
#[derive(Default)]
pub(super) struct RouteGripDraft {
    /// Where it is `off`.
    pub(super) off: Option<Place>,
    pub(super) grip: RouteGrip,
}

/// The keys of a route's `grip`.
pub(super) static ROUTE_GRIP: Section<RouteGrip> = Section {
    short: Some("`off`"),
    required: &[],
    keys: &[
        Key::new("key", |grip, value| grip.key = signing(value)),
        Key::new("issuer", |grip, value| grip.issuer = value.read(&form::NAME)),
        Key::new("channels", |grip, value| {
            value.each_of_some(|item| grip.channels.extend(item.read(&form::NAME)));
        }),
    ],
};

/// `off`, or by a mapping.
pub(super) fn route_grip(draft: &mut RouteGripDraft, value: Value<'_>) {
    match &value.node.content {
        Content::Text(text) if text == form::OFF => draft.off = Some(value.node.place),
        _ => ROUTE_GRIP.fill(&mut draft.grip, value),
    }
}
