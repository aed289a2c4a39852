//! Files of another proxy, whatever is in them.

use std::path::Path;

use super::pushpin::{Source, import};
use crate::config::Config;
use crate::fuzz::{kind, sentence};

/// Routes, and behind an empty line the settings: what comes of them is YAML, whatever else it is.
pub(crate) fn pushpin(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    let (routes, conf) = text.split_once("\n\n").map_or((text, None), |(routes, conf)| (routes, Some(conf)));
    let source = |text| Source { text, folder: Path::new("/nowhere") };
    let imported = import(source(routes), conf.map(source));
    if imported.contains("/dev") || imported.contains("/proc") {
        return 1;
    }
    match Config::parse("imported", &imported, &|_| Some("t0ken".to_owned())) {
        Ok(config) => kind((config.sites.len(), config.pools.len(), config.listen.len())),
        Err(problems) => {
            let said: Vec<String> = problems.iter().map(|problem| problem.to_string()).collect();
            let is_yaml = !said.iter().any(|said| said.contains("not YAML") || said.contains("unknown key"));
            assert!(is_yaml, "{said:?}\n{imported}");
            kind(said.iter().map(|said| sentence(said)).collect::<Vec<_>>())
        }
    }
}
