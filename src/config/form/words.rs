//! Forms of which there are a few words.

use hyper::StatusCode;

use super::{Form, OFF, Unfit, or_off};
use crate::config::draft::SyncWord;
use crate::config::problem::nearest;
use crate::config::{AccessFormat, Buffer, Carry, LogLevel, SlowReader, StoreConfig, Websockets, units};

/// Nothing else can stand here by itself.
pub(in crate::config) static ONLY_OFF: Form<()> = Form {
    expected: "`off`, or a mapping",
    read: |text| or_off(text, |_| Err(Unfit::Unlike), units::count).map(|_: Option<()>| ()),
};

/// Which bodies wait in the proxy; several in a list.
pub(in crate::config) static BUFFER: Form<Buffer> = Form {
    expected: "request, response, both in a list, or off",
    read: |text| {
        let bodies = |request, response| Buffer { request, response };
        choice(
            text,
            &[
                ("request", bodies(true, false)),
                ("response", bodies(false, true)),
                (OFF, bodies(false, false)),
            ],
        )
    },
};

pub(in crate::config) static WEBSOCKETS: Form<Websockets> = Form {
    expected: "through, grip or over_http",
    read: |text| {
        let ways = [
            ("through", Websockets::Through),
            ("grip", Websockets::Grip),
            ("over_http", Websockets::OverHttp),
            ("over-http", Websockets::OverHttp),
        ];
        choice(text, &ways)
    },
};

/// Form of the access log.
pub(in crate::config) static ACCESS: Form<AccessFormat> = Form {
    expected: "combined, json or off",
    read: |text| {
        use AccessFormat::*;
        choice(text, &[("combined", Combined), ("json", Json), (OFF, Off)])
    },
};

/// Level of the error log.
pub(in crate::config) static LEVEL: Form<LogLevel> = Form {
    expected: "error, warn, info, debug or trace",
    read: |text| {
        use LogLevel::*;
        choice(text, &[("error", Error), ("warn", Warn), ("info", Info), ("debug", Debug), ("trace", Trace)])
    },
};

/// Policy for slow readers.
pub(in crate::config) static SLOW: Form<SlowReader> = Form {
    expected: "close, skip or newest",
    read: |text| {
        use SlowReader::*;
        choice(text, &[("close", Close), ("skip", Skip), ("newest", Newest)])
    },
};

/// The store that needs no settings.
pub(in crate::config) static STORE: Form<StoreConfig> =
    Form { expected: "memory", read: |text| choice(text, &[("memory", StoreConfig::Memory)]) };

/// When what is published is made safe on a disk.
pub(in crate::config) static SYNC: Form<SyncWord> = Form {
    expected: "group or interval",
    read: |text| choice(text, &[("group", SyncWord::Group), ("interval", SyncWord::Interval)]),
};

/// Something that is done unless it is turned off.
pub(in crate::config) static SWITCH: Form<bool> =
    Form { expected: "on, or `off`", read: |text| choice(text, &[("on", true), (OFF, false)]) };

/// Whether a site is for TLS only.
pub(in crate::config) static HTTPS: Form<bool> =
    Form { expected: HTTPS_SHORT, read: |text| choice(text, &[("redirect", true), (OFF, false)]) };
pub(in crate::config) const HTTPS_SHORT: &str = "redirect, or `off`";

/// The status of a redirect.
pub(in crate::config) static REDIRECT_STATUS: Form<StatusCode> = Form {
    expected: "301, 302, 303, 307 or 308",
    read: |text| {
        let statuses = ["301", "302", "303", "307", "308"];
        let status = StatusCode::from_bytes(text.as_bytes()).map_err(|_| Unfit::Unlike)?;
        if statuses.contains(&text) { Ok(status) } else { Err(Unfit::Unlike) }
    },
};

/// What a redirect carries over.
pub(in crate::config) static CARRY: Form<Carry> = Form {
    expected: "off, whole or rest",
    read: |text| choice(text, &[(OFF, Carry::Off), ("whole", Carry::Whole), ("rest", Carry::Rest)]),
};

/// Something that is so or not.
pub(in crate::config) static YES_OR_NO: Form<bool> =
    Form { expected: "true or false", read: |text| choice(text, &[("true", true), ("false", false)]) };

pub(in crate::config) fn choice<T: Clone>(text: &str, choices: &[(&str, T)]) -> Result<T, Unfit> {
    let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| value.clone());
    chosen.ok_or_else(|| {
        let names = choices.iter().map(|(name, _)| *name);
        nearest(text, names).map_or(Unfit::Unlike, Unfit::Meant)
    })
}
