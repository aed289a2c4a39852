//! Filters of a subscription: whether a message passes, and what becomes of its bytes; pure.

use std::borrow::Cow;

/// Filters of one channel.
pub(super) const FILTERS_MAX: usize = 5;

/// A filter that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Not to whom it comes from.
    SkipSelf,
    /// Not to those whom it names.
    SkipUsers,
    /// To those who are on another channel, too.
    RequireSub,
    /// Ids stand in it.
    BuildId,
    /// What is known of the client stands in it.
    VarSubst,
    /// To those of whom a URL says so.
    HttpCheck,
    /// The same, and the URL may say it in other words.
    HttpModify,
}

/// The filters of a channel, in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(Vec<Filter>);

/// The filter changes bytes, and what it needs isn't there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the filter can't be applied: {0}")]
pub struct Unfiltered(pub String);

impl Filter {
    const NAMES: [(&'static str, Filter); 7] = [
        ("skip-self", Filter::SkipSelf),
        ("skip-users", Filter::SkipUsers),
        ("require-sub", Filter::RequireSub),
        ("build-id", Filter::BuildId),
        ("var-subst", Filter::VarSubst),
        ("http-check", Filter::HttpCheck),
        ("http-modify", Filter::HttpModify),
    ];

    fn name(self) -> &'static str {
        Filter::NAMES[self as usize].0
    }

    fn changes_content(self) -> bool {
        matches!(self, Filter::BuildId | Filter::VarSubst | Filter::HttpModify)
    }

    fn asks(self) -> bool {
        matches!(self, Filter::HttpCheck | Filter::HttpModify)
    }
}

impl Filters {
    /// By their names; a name that is unknown means nothing, as in Pushpin.
    pub fn read<'a>(names: impl Iterator<Item = &'a str>) -> Filters {
        let known =
            |name: &str| Filter::NAMES.iter().find(|(own, _)| *own == name).map(|(_, filter)| *filter);
        Filters(names.filter_map(known).collect())
    }

    /// Whether there is one.
    pub fn has(&self, filter: Filter) -> bool {
        self.0.contains(&filter)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them asks a URL.
    pub fn ask(&self) -> bool {
        self.0.iter().any(|filter| filter.asks())
    }

    /// Whether the one in this place changes bytes.
    pub(super) fn changes(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(|filter| filter.changes_content())
    }

    /// Those that change bytes.
    pub fn of_content(&self) -> impl Iterator<Item = Filter> {
        self.0.iter().copied().filter(|filter| filter.changes_content())
    }

    /// Whether those that change bytes are just these, in this order.
    pub fn content_is(&self, names: &[Box<str>]) -> bool {
        self.of_content().map(Filter::name).eq(names.iter().map(|name| &**name))
    }
}

/// What the client is, as far as filters look at it.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) meta: &'a [(Box<str>, Box<str>)],
    pub(super) is_on: &'a dyn Fn(&str) -> bool,
    /// The id that a channel has come to.
    pub(super) last_id: &'a dyn Fn(&str) -> Option<&'a str>,
}

impl Filters {
    /// Whether a message with this meta is for the client.
    pub(super) fn admit(&self, message: &[(Box<str>, Box<str>)], client: &Client<'_>) -> bool {
        let user = get(client.meta, "user").filter(|user| !user.is_empty());
        self.0.iter().all(|filter| match filter {
            Filter::SkipSelf => user.is_none() || user != get(message, "sender"),
            Filter::SkipUsers => match (user, get(message, "skip_users")) {
                (Some(user), Some(skipped)) => skipped.split(',').all(|name| name.trim() != user),
                _ => true,
            },
            Filter::RequireSub => match get(message, "require_sub") {
                Some(channel) if !channel.is_empty() => (client.is_on)(channel),
                _ => true,
            },
            Filter::BuildId | Filter::VarSubst | Filter::HttpCheck | Filter::HttpModify => true,
        })
    }

    /// The bytes that the client gets, from the filter in this place on, or up to one that asks. Names of ids and
    /// variables in them are its own.
    pub(super) fn run<'b>(
        &self,
        from: usize,
        content: Cow<'b, [u8]>,
        client: &Client<'_>,
    ) -> Result<Step<'b>, Unfiltered> {
        let mut content = content;
        for (at, filter) in self.0.iter().enumerate().skip(from) {
            content = match filter {
                Filter::BuildId => Cow::Owned(build_id(&content, client)?),
                Filter::VarSubst => Cow::Owned(substitute(&content, |name| get(client.meta, name))?),
                Filter::HttpCheck | Filter::HttpModify => return Ok(Step::Ask(at, content)),
                Filter::SkipSelf | Filter::SkipUsers | Filter::RequireSub => content,
            };
        }
        Ok(Step::Done(content))
    }
}

/// How far the filters have come.
#[derive(Debug)]
pub(super) enum Step<'b> {
    /// Through all of them.
    Done(Cow<'b, [u8]>),
    /// To the one in this place, which asks about these bytes.
    Ask(usize, Cow<'b, [u8]>),
}

fn get<'a>(pairs: &'a [(Box<str>, Box<str>)], name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
}

/// `%I` is the client's id, `%(name)I` the id `name`, `%%` is `%`.
fn build_id(content: &[u8], client: &Client<'_>) -> Result<Vec<u8>, Unfiltered> {
    let encode = |id: Vec<u8>| match get(client.meta, "id_encoding") {
        Some("hex") => id.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
        _ => id,
    };
    render(content, |token| match token {
        Token::Letter(b'I') => {
            let format = get(client.meta, "id_format");
            let format = format.ok_or_else(|| Unfiltered("the client has no meta id_format".into()))?;
            substitute(format.as_bytes(), |channel| (client.last_id)(channel)).map(encode)
        }
        Token::Named(name, Some(b'I')) => Ok(encode(name.as_bytes().to_vec())),
        token => Err(unknown(&token)),
    })
}

/// `%(name)s` is a variable, `%%` is `%`.
fn substitute<'a>(content: &[u8], value: impl Fn(&str) -> Option<&'a str>) -> Result<Vec<u8>, Unfiltered> {
    render(content, |token| match token {
        Token::Named(name, Some(b's')) => {
            let value = value(name).ok_or_else(|| Unfiltered(format!("nothing is called {name:?}")))?;
            Ok(value.as_bytes().to_vec())
        }
        token => Err(unknown(&token)),
    })
}

/// What stands behind a `%`.
#[derive(Debug)]
enum Token<'a> {
    Letter(u8),
    Named(&'a str, Option<u8>),
    Nothing,
}

fn unknown(token: &Token<'_>) -> Unfiltered {
    Unfiltered(format!("a percent sign stands before {token:?}"))
}

fn render(
    content: &[u8],
    mut put: impl FnMut(Token<'_>) -> Result<Vec<u8>, Unfiltered>,
) -> Result<Vec<u8>, Unfiltered> {
    let (mut out, mut rest) = (Vec::with_capacity(content.len()), content);
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let (token, length) = token(&rest[at + 1..]);
        match token {
            Token::Letter(b'%') => out.push(b'%'),
            token => out.extend(put(token)?),
        }
        rest = rest.get(at + 1 + length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(out)
}

/// The token at the beginning, and its length.
fn token(text: &[u8]) -> (Token<'_>, usize) {
    match text {
        [] => (Token::Nothing, 0),
        [b'(', inner @ ..] => {
            let end = memchr::memchr(b')', inner);
            let name = end.and_then(|end| std::str::from_utf8(&inner[..end]).ok());
            match (end, name) {
                (Some(end), Some(name)) => (Token::Named(name, inner.get(end + 1).copied()), end + 3),
                _ => (Token::Nothing, text.len()),
            }
        }
        [letter, ..] => (Token::Letter(*letter), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(Box<str>, Box<str>)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn admitted(filter: &str, client: &[(&str, &str)], message: &[(&str, &str)]) -> bool {
        let meta = pairs(client);
        let client = Client { meta: &meta, is_on: &|name| name == "club", last_id: &|_| None };
        Filters::read([filter].into_iter()).admit(&pairs(message), &client)
    }

    #[test]
    fn a_message_passes_by_who_sent_it_and_who_reads() {
        let alice = [("user", "alice")];
        assert!(!admitted("skip-self", &alice, &[("sender", "alice")]));
        assert!(admitted("skip-self", &alice, &[("sender", "bob")]));
        assert!(admitted("skip-self", &alice, &[]));
        assert!(admitted("skip-self", &[("user", "")], &[("sender", "")]));
        assert!(!admitted("skip-users", &alice, &[("skip_users", "x, alice")]));
        assert!(admitted("skip-users", &alice, &[("skip_users", "x, alicea")]));
        assert!(admitted("skip-users", &[], &[("skip_users", "x")]));
        assert!(admitted("require-sub", &[], &[("require_sub", "club")]));
        assert!(!admitted("require-sub", &[], &[("require_sub", "pub")]));
        assert!(admitted("require-sub", &[], &[]));
        assert!(admitted("unheard-of", &alice, &[("sender", "alice")]));
    }

    fn changed(filter: &str, client: &[(&str, &str)], content: &str) -> Option<String> {
        let meta = pairs(client);
        let last_id = |channel: &str| (channel == "b1").then_some("6");
        let client = Client { meta: &meta, is_on: &|_| false, last_id: &last_id };
        let filters = Filters::read([filter].into_iter());
        let Step::Done(changed) = filters.run(0, content.as_bytes().into(), &client).ok()? else { panic!() };
        Some(String::from_utf8(changed.into_owned()).unwrap())
    }

    #[test]
    fn ids_and_variables_stand_in_content() {
        let format = [("id_format", "b1:%(b1)s")];
        assert_eq!(changed("build-id", &format, "id=%I 5%% %(lit)I").as_deref(), Some("id=b1:6 5% lit"));
        let hex = [("id_format", "%(b1)s"), ("id_encoding", "hex")];
        assert_eq!(changed("build-id", &hex, "%I").as_deref(), Some("36"));
        assert_eq!(changed("build-id", &[], "%(x)I %%").as_deref(), Some("x %"));
        for bad in ["%I", "%", "%q", "%(x", "%(x)", "%(x)s"] {
            assert_eq!(changed("build-id", &[], bad), None, "{bad}");
        }
        assert_eq!(changed("build-id", &[("id_format", "%(other)s")], "%I"), None);
        assert_eq!(changed("var-subst", &[("user", "é")], "hi %(user)s, 5%%").as_deref(), Some("hi é, 5%"));
        assert_eq!(changed("var-subst", &[], "%(user)s"), None);
        assert_eq!(changed("skip-self", &[], "100%").as_deref(), Some("100%"));
    }

    #[test]
    fn a_publisher_may_count_on_the_filters_of_content() {
        let filters = Filters::read(["skip-self", "var-subst", "build-id"].into_iter());
        assert!(filters.content_is(&["var-subst".into(), "build-id".into()]));
        assert!(!filters.content_is(&["build-id".into(), "var-subst".into()]));
        assert!(Filters::default().content_is(&[]));
        let asking = Filters::read(["http-check", "http-modify"].into_iter());
        assert!(asking.content_is(&["http-modify".into()]) && asking.ask() && !filters.ask());
    }
}
