//! The time of an answer as HTTP writes it (RFC 9110 §6.6.1), written once a second by each thread.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a date: `Sun, 06 Nov 1994 08:49:37 GMT`.
const LENGTH: usize = 29;

thread_local! {
    static WRITTEN: RefCell<Written> = const { RefCell::new(Written { second: 0, text: [0; LENGTH] }) };
}

struct Written {
    /// Since 1970.
    second: u64,
    text: [u8; LENGTH],
}

/// Appends the present date.
pub fn write(into: &mut Vec<u8>) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WRITTEN.with_borrow_mut(|written| {
        if written.second != second || written.text[0] == 0 {
            let text = httpdate::fmt_http_date(now);
            if let Ok(text) = text.as_bytes().try_into() {
                *written = Written { second, text };
            }
        }
        into.extend_from_slice(&written.text);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_that_of_now() {
        let mut text = Vec::new();
        for _ in 0..2 {
            text.clear();
            write(&mut text);
        }
        let date = httpdate::parse_http_date(std::str::from_utf8(&text).unwrap()).unwrap();
        assert!(SystemTime::now().duration_since(date).unwrap().as_secs() < 10);
    }
}
