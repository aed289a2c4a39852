//! What a rule says of GRIP: its key and issuer, channels that every client is on, or that it isn't spoken.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::routes::Part;
use super::yaml::quoted;

/// `grip` of a route.
pub(super) enum Grip {
    Off,
    /// These keys.
    On(Vec<String>),
}

/// For the properties of a rule.
pub(super) fn grip(condition: &Part, targets: &[Part], over_http: bool, remarks: &mut Vec<String>) -> Grip {
    if condition.has("no_grip") && !over_http {
        let unused = targets.iter().flat_map(|target| target.all("sub"));
        remarks.extend(unused.map(|sub| format!("sub={sub}: with no_grip nobody is held")));
        return Grip::Off;
    }
    if condition.has("no_grip") {
        remarks.push("no_grip: WebSocket-over-HTTP is a part of GRIP here".into());
    }
    let key = condition.get("sig_key").filter(|key| !key.is_empty());
    let key = key.and_then(|key| key_of(key, remarks)).map(|key| format!("key: {key}"));
    let issuer = named("sig_iss", condition.get("sig_iss"), remarks).into_iter().next();
    let issuer = issuer.map(|issuer| format!("issuer: {issuer}"));
    let channels = named("sub", targets.iter().flat_map(|target| target.all("sub")), remarks);
    let channels = (!channels.is_empty()).then(|| format!("channels: [{}]", channels.join(", ")));
    Grip::On([key, issuer, channels].into_iter().flatten().collect())
}

/// Names that a configuration of ours may have, each once, as scalars.
fn named<'p>(
    property: &str,
    values: impl IntoIterator<Item = &'p str>,
    remarks: &mut Vec<String>,
) -> Vec<String> {
    let values: BTreeSet<&str> = values.into_iter().filter(|value| !value.is_empty()).collect();
    let (good, bad): (Vec<&str>, Vec<&str>) = values.into_iter().partition(|name| is_name(name));
    remarks.extend(bad.iter().map(|name| format!("{property}={name}: it can't be named so here")));
    good.into_iter().map(quoted).collect()
}

/// Whether a configuration of ours may have such a name.
pub(super) fn is_name(name: &str) -> bool {
    (1..=200).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// A key as a scalar: text, `base64:` and the like, or `file:` and a path, all of which mean the same here.
pub(super) fn key_of(key: &str, remarks: &mut Vec<String>) -> Option<String> {
    let is_key = |encoded: &str| STANDARD.decode(encoded).is_ok_and(|key| !key.is_empty());
    if key.strip_prefix("base64:").is_some_and(|encoded| !is_key(encoded)) {
        remarks.push("sig_key: what stands behind base64: is none".into());
        return None;
    }
    Some(quoted(key))
}

/// A key whose file, if it is in one, is named from the root: there a path begins where the file is that says it.
pub(super) fn anchored(key: &str, folder: &Path) -> String {
    match key.strip_prefix("file:") {
        Some(path) => format!("file:{}", folder.join(path).display()),
        None => key.to_owned(),
    }
}
