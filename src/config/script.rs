//! `script` of a route: its keys, and what each is when it is left out.

use super::form;
use super::section::{Key, Section};

/// The client `perihelion.js` at a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptConfig {
    /// What it says in `Cache-Control`.
    pub cache_control: String,
}

impl Default for ScriptConfig {
    fn default() -> Self {
        // Its address stays when the proxy is a new one, so that browsers ask, and are mostly answered with 304.
        ScriptConfig { cache_control: "no-cache".to_owned() }
    }
}

/// The keys of `script`.
pub(super) static SCRIPT: Section<ScriptConfig> = Section {
    short: None,
    required: &[],
    keys: &[Key::new("cache_control", |script, value| value.put(&mut script.cache_control, &form::FIELD))],
};
