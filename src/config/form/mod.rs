//! The forms that the text of a value can have: what each looks like, and how it is read.

mod amounts;
mod names;
mod words;

pub(super) use amounts::*;
pub(super) use names::*;
pub(super) use words::*;

/// How one kind of value is written.
pub(super) struct Form<T: 'static> {
    /// What it looks like, for people.
    pub(super) expected: &'static str,
    /// Reads it.
    pub(super) read: fn(&str) -> Result<T, Unfit>,
}

/// Why a text doesn't have a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It isn't even like it.
    Unlike,
    /// It is near to this text, which has the form.
    Meant(String),
}

/// What turns a bound off.
pub(super) const OFF: &str = "off";

impl<T> Form<T> {
    pub(super) fn read(&self, text: &str) -> Result<T, Unfit> {
        (self.read)(text)
    }
}

/// Reads `off` as `None`; a zero or a -1, by which other programs say so, was meant as `off`.
fn or_off<T, N: Default + PartialEq>(
    text: &str,
    read: impl Fn(&str) -> Result<T, Unfit>,
    number: impl Fn(&str) -> Result<N, Unfit>,
) -> Result<Option<T>, Unfit> {
    let elsewhere = ["0", "-1", "none", "no", "false", "unlimited", "infinity"];
    if text == OFF {
        return Ok(None);
    }
    if elsewhere.contains(&text) || number(text) == Ok(N::default()) || text.eq_ignore_ascii_case(OFF) {
        return Err(Unfit::Meant(OFF.to_owned()));
    }
    read(text).map(Some)
}
