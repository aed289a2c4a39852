//! An answer as a script that calls a function with it: JSON-P for whatever an application says, as Pushpin has it.
//!
//! The comment before the name keeps old plugins from taking the script for something of theirs. A [`Script`] is
//! written as its body comes.

use super::script;

/// What is called, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The name of the function.
    pub function: Box<str>,
    /// What it gets.
    pub argument: Argument,
}

/// What a function is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// An object with code, reason, headers and body of the answer.
    Answer,
    /// The body, which has to be an expression of JavaScript.
    Body,
}

/// The head of an answer, as a function gets it.
#[derive(Debug, Clone)]
pub struct Told<'a> {
    /// The status.
    pub code: u16,
    /// The words behind it.
    pub reason: &'a str,
    /// Names and values.
    pub fields: Vec<(&'a str, &'a [u8])>,
}

/// A script whose body is on its way.
#[derive(Debug)]
pub struct Script {
    argument: Argument,
    /// What may be the line's end of the whole body, or the beginning of a character.
    kept: Vec<u8>,
}

/// The media type of a script.
pub const MEDIA_TYPE: &str = "application/javascript";

impl Call {
    /// The script of an answer that is all there.
    pub fn whole(&self, told: &Told<'_>, body: &[u8]) -> Vec<u8> {
        let (mut script, mut out) = self.begin(told);
        script.piece(body, &mut out);
        script.end(&mut out);
        out
    }

    /// The script up to the body.
    pub fn begin(&self, told: &Told<'_>) -> (Script, Vec<u8>) {
        let mut out = format!("/**/{}(", self.function).into_bytes();
        if self.argument == Argument::Answer {
            out.extend_from_slice(format!("{{\"code\": {}, \"reason\": \"", told.code).as_bytes());
            string(told.reason, &mut out);
            out.extend_from_slice(b"\", \"headers\": {");
            fields(&told.fields, &mut out);
            out.extend_from_slice(b"}, \"body\": \"");
        }
        (Script { argument: self.argument, kept: Vec::new() }, out)
    }
}

impl Script {
    /// Appends a piece of the body.
    pub fn piece(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let whole = [&std::mem::take(&mut self.kept)[..], bytes].concat();
        let ready = match self.argument {
            Argument::Answer => whole.len() - unfinished(&whole),
            Argument::Body => whole.len() - line_end(&whole),
        };
        let (ready, kept) = whole.split_at(ready);
        match self.argument {
            Argument::Answer => string(&String::from_utf8_lossy(ready), out),
            Argument::Body => out.extend_from_slice(ready),
        }
        self.kept = kept.to_vec();
    }

    /// Appends the end.
    pub fn end(self, out: &mut Vec<u8>) {
        match self.argument {
            Argument::Answer => {
                string(&String::from_utf8_lossy(&self.kept), out);
                out.extend_from_slice(b"\"});\n");
            }
            Argument::Body => {
                // A line's end of the body would stand inside the call.
                if !self.kept.ends_with(b"\n") {
                    out.extend_from_slice(&self.kept);
                }
                out.extend_from_slice(b");\n");
            }
        }
    }
}

/// Bytes of a character that isn't all there.
fn unfinished(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    let begins = (from..bytes.len()).find(|at| {
        std::str::from_utf8(&bytes[*at..])
            .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    });
    begins.map_or(0, |at| bytes.len() - at)
}

fn line_end(bytes: &[u8]) -> usize {
    let ends = [&b"\r\n"[..], b"\n", b"\r"];
    ends.into_iter().find(|end| bytes.ends_with(end)).map_or(0, <[u8]>::len)
}

/// The inside of a string that may stand in a script.
fn string(text: &str, out: &mut Vec<u8>) {
    let quoted = serde_json::Value::from(text).to_string();
    script::json(&quoted.as_bytes()[1..quoted.len() - 1], out);
}

/// Those of one name together, the name as it is mostly written. Scripts see no cookies that are set (Fetch §2.2.6).
fn fields(all: &[(&str, &[u8])], out: &mut Vec<u8>) {
    let mut written: Vec<&str> = vec!["set-cookie"];
    for (name, _) in all {
        if written.contains(name) {
            continue;
        }
        let values = all.iter().filter(|(other, _)| other == name);
        let values: Vec<_> = values.map(|(_, value)| String::from_utf8_lossy(value)).collect();
        let separator = if written.len() > 1 { ", \"" } else { "\"" };
        out.extend_from_slice(separator.as_bytes());
        string(&capital(name), out);
        out.extend_from_slice(b"\": \"");
        string(&values.join(", "), out);
        out.push(b'"');
        written.push(name);
    }
}

/// `Content-Type` of `content-type`.
fn capital(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or(("", word));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(argument: Argument) -> Call {
        Call { function: "app.take".into(), argument }
    }

    fn told() -> Told<'static> {
        let fields: [(&str, &[u8]); 4] =
            [("content-type", b"text/plain"), ("x-a", b"1"), ("set-cookie", b"s"), ("x-a", b"\"2")];
        Told { code: 404, reason: "Not Found", fields: fields.into() }
    }

    /// In pieces of every size.
    fn written(argument: Argument, body: &[u8]) -> String {
        let whole = call(argument).whole(&told(), body);
        for size in 1..=body.len() {
            let (mut script, mut out) = call(argument).begin(&told());
            body.chunks(size).for_each(|piece| script.piece(piece, &mut out));
            script.end(&mut out);
            assert_eq!(out, whole, "in pieces of {size}");
        }
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn a_function_gets_the_whole_answer() {
        assert_eq!(
            written(Argument::Answer, "</script>\u{2028}\"é€\u{1f30d}\"\r\n".as_bytes()),
            "/**/app.take({\"code\": 404, \"reason\": \"Not Found\", \"headers\": {\"Content-Type\": \"text/plain\", \
             \"X-A\": \"1, \\\"2\"}, \"body\": \"\\u003c/script\\u003e\\u2028\\\"é€\u{1f30d}\\\"\\r\\n\"});\n"
        );
        assert!(written(Argument::Answer, b"\xff\xe2\x82").ends_with("\"body\": \"\u{fffd}\u{fffd}\"});\n"));
        assert!(written(Argument::Answer, b"").ends_with("\"body\": \"\"});\n"));
    }

    #[test]
    fn a_function_gets_the_body_without_the_end_of_its_line() {
        for (body, expected) in [
            ("{\"a\":1}\n", "/**/app.take({\"a\":1});\n"),
            ("1\r\n", "/**/app.take(1);\n"),
            ("1\n\n", "/**/app.take(1\n);\n"),
            ("1\r", "/**/app.take(1\r);\n"),
            ("", "/**/app.take();\n"),
        ] {
            assert_eq!(written(Argument::Body, body.as_bytes()), expected, "{body:?}");
        }
    }
}
