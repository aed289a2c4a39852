//! The head of a request to a server: fields in their order, borrowed from wherever they stand, written once.
//!
//! A map would hash and count references for each field of each request, to be walked once and dropped.

use std::borrow::Cow;

use hyper::Method;

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead<'a> {
    /// Method.
    pub method: &'a Method,
    /// Target in the form that a server is asked by: a path with its query, or `*` (RFC 9112 §3.2).
    pub target: &'a str,
    /// Fields; one of `content-length` and `transfer-encoding` says how long the body is, where there is one.
    pub fields: Fields<'a>,
}

/// Fields of a head. Names are lower case, names and values what may stand in a field (RFC 9110 §5).
#[derive(Debug, Default)]
pub struct Fields<'a>(Vec<(&'a str, Cow<'a, [u8]>)>);

impl<'a> Fields<'a> {
    /// None, with room for so many.
    pub fn with_capacity(count: usize) -> Fields<'a> {
        Fields(Vec::with_capacity(count))
    }

    /// Puts one behind the others.
    pub fn add(&mut self, name: &'a str, value: impl Into<Cow<'a, [u8]>>) {
        self.0.push((name, value.into()));
    }

    /// Puts one in the place of all that have its name.
    pub fn set(&mut self, name: &'a str, value: impl Into<Cow<'a, [u8]>>) {
        match self.0.iter().position(|(this, _)| *this == name) {
            Some(first) => {
                self.0[first].1 = value.into();
                let mut index = 0;
                self.0.retain(|(this, _)| {
                    index += 1;
                    index <= first + 1 || *this != name
                });
            }
            None => self.add(name, value),
        }
    }

    /// Takes all of a name away.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(this, _)| *this != name);
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The values of a name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |(this, _)| *this == name).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }
}

impl RequestHead<'_> {
    /// Appends it as it goes over the wire. The last one on a connection says so (RFC 9112 §9.6), unless that becomes
    /// something else.
    pub(super) fn write(&self, into: &mut Vec<u8>, is_last: bool) {
        let fields: usize = self.fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        into.reserve(LINE + self.target.len() + fields);
        into.extend_from_slice(self.method.as_str().as_bytes());
        into.push(b' ');
        if self.target.starts_with('?') {
            // An absolute target may have no path; this form needs one (RFC 9112 §3.2.1).
            into.push(b'/');
        }
        into.extend_from_slice(self.target.as_bytes());
        into.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in self.fields.iter() {
            into.extend_from_slice(name.as_bytes());
            into.extend_from_slice(b": ");
            into.extend_from_slice(value);
            into.extend_from_slice(b"\r\n");
        }
        if is_last && !self.fields.has("upgrade") {
            into.extend_from_slice(b"connection: close\r\n");
        }
        into.extend_from_slice(b"\r\n");
    }
}

/// Bytes of a request line with a common method, and of the line that ends a head.
const LINE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_set_stands_where_the_first_of_its_name_stood() {
        let mut fields = Fields::default();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "5")] {
            fields.add(name, value.as_bytes());
        }
        fields.set("a", b"6".to_vec());
        fields.set("d", &b"7"[..]);
        fields.remove("c");
        let head = RequestHead { method: &Method::POST, target: "/x?y", fields };
        let mut text = Vec::new();
        head.write(&mut text, false);
        assert_eq!(text, b"POST /x?y HTTP/1.1\r\na: 6\r\nb: 2\r\nd: 7\r\n\r\n");
    }

    #[test]
    fn a_target_without_a_path_gets_one() {
        let head = RequestHead { method: &Method::GET, target: "?x", fields: Fields::default() };
        let mut text = Vec::new();
        head.write(&mut text, false);
        assert_eq!(text, b"GET /?x HTTP/1.1\r\n\r\n");
    }
}
