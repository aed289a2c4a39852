//! `Grip-Keep-Alive`: bytes of the application's own by which a stream shows that it lives.

use std::time::Duration;

use bytes::Bytes;

use crate::message::base64;

/// The signs of life of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepAlive {
    /// What is sent.
    pub data: Bytes,
    /// How often.
    pub timeout: Duration,
    /// Since when that is counted.
    pub pace: Pace,
}

/// Since when the time to the next sign is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Since anything was sent.
    Idle,
    /// Since the last one.
    Interval,
}

/// How long, where the application doesn't say.
pub(super) const TIMEOUT: Duration = Duration::from_secs(55);
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

impl KeepAlive {
    /// Of bytes; the shortest time is a second.
    pub(super) fn new(data: Bytes, timeout: Option<Duration>, pace: Pace) -> KeepAlive {
        KeepAlive { data, timeout: timeout.unwrap_or(TIMEOUT).max(TIMEOUT_MIN), pace }
    }

    /// Reads the header: bytes up to the first semicolon, then parameters.
    pub(super) fn read(text: &str) -> Result<KeepAlive, String> {
        let (data, params) = text.split_once(';').unwrap_or((text, ""));
        let (mut format, mut timeout, mut pace) = (None, None, None);
        for param in params.split(';').map(str::trim).filter(|param| !param.is_empty()) {
            let (name, value) = super::params::param(param).ok_or("a quote doesn't end")?;
            match name.to_ascii_lowercase().as_str() {
                "format" => drop(format.get_or_insert(value)),
                "timeout" => drop(timeout.get_or_insert(super::headers::seconds(&value)?)),
                "mode" => drop(pace.get_or_insert(read_pace(&value)?)),
                _ => {}
            }
        }
        let data = decoded(data.trim(), format.as_deref().unwrap_or("raw"))?;
        if data.is_empty() {
            return Err("it has no data".into());
        }
        Ok(KeepAlive::new(data.into(), timeout, pace.unwrap_or(Pace::Idle)))
    }
}

fn read_pace(mode: &str) -> Result<Pace, String> {
    match mode {
        "" | "idle" => Ok(Pace::Idle),
        "interval" => Ok(Pace::Interval),
        _ => Err(format!("the mode is idle or interval, not {mode:?}")),
    }
}

fn decoded(data: &str, format: &str) -> Result<Vec<u8>, String> {
    match format {
        "" | "raw" => Ok(data.as_bytes().to_vec()),
        "cstring" => unescaped(data).ok_or_else(|| "an escape doesn't end".into()),
        "base64" => base64(data).ok_or_else(|| "it is no base64".into()),
        _ => Err(format!("the format is raw, cstring or base64, not {format:?}")),
    }
}

/// `\\`, `\r`, `\n`, `\xHH`; before any other letter a backslash goes together with it.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next()? {
                b'\\' => plain.push(b'\\'),
                b'r' => plain.push(b'\r'),
                b'n' => plain.push(b'\n'),
                b'x' => plain.push(digit(bytes.next()?)? << 4 | digit(bytes.next()?)?),
                _ => {}
            },
            byte => plain.push(byte),
        }
    }
    Some(plain)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keep_alive_has_data_in_three_formats() {
        let keep = |data: &'static [u8], seconds, pace| {
            Ok(KeepAlive { data: Bytes::from_static(data), timeout: Duration::from_secs(seconds), pace })
        };
        let read = KeepAlive::read;
        assert_eq!(read("ka"), keep(b"ka", 55, Pace::Idle));
        assert_eq!(read(r":\n\n; format=cstring; timeout=20"), keep(b":\n\n", 20, Pace::Idle));
        assert_eq!(read(r"a\x3b\\\q\r; format=cstring"), keep(b"a;\\\r", 55, Pace::Idle));
        assert_eq!(read("AAEC; format=base64; mode=interval"), keep(b"\0\x01\x02", 55, Pace::Interval));
        assert_eq!(read("x; timeout=0"), keep(b"x", 1, Pace::Idle));
        for bad in [
            "",
            "; timeout=3",
            "a; mode=zz",
            "a; format=hex",
            "a; timeout=-1",
            "a; timeout=x",
            r"a\; format=cstring",
            r"\x4; format=cstring",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
