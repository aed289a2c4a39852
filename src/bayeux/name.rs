//! Names of Bayeux channels, and patterns of them (Bayeux 1.0, "Channel Names and Globbing"); pure.
//!
//! A Bayeux channel is the hub's channel of the same name, its first slash included. What begins with `/meta/` or
//! `/service/` is no channel to anybody: it is never published and never delivered.

/// What is meant by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The protocol itself.
    Meta,
    /// A word to the server, which nobody else hears.
    Service,
    /// A channel.
    Broadcast,
}

/// What is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    /// One channel.
    One,
    /// `/folder/*`: one segment more than the folder, which ends with its slash.
    Children(&'a str),
    /// `/folder/**`: one segment more, or several.
    Below(&'a str),
}

/// The kind of a name; `None` where it is none.
pub(super) fn kind(name: &str) -> Option<Kind> {
    let segments = name.strip_prefix('/')?;
    segments.split('/').all(is_segment).then(|| kind_of(name))
}

/// The kind and the pattern of what is subscribed to.
pub(super) fn pattern(text: &str) -> Option<(Kind, Pattern<'_>)> {
    let (below, deep) = match text.strip_suffix("/**") {
        Some(below) => (below, true),
        None => match text.strip_suffix("/*") {
            Some(below) => (below, false),
            None => return Some((kind(text)?, Pattern::One)),
        },
    };
    let folder = &text[..=below.len()];
    let is_name = below.is_empty() || kind(below).is_some();
    let pattern = if deep { Pattern::Below(folder) } else { Pattern::Children(folder) };
    is_name.then(|| (kind_of(folder), pattern))
}

/// Every pattern with a wildcard that a channel is meant by.
pub(super) fn patterns_for(name: &str) -> impl Iterator<Item = String> {
    let folders = name.match_indices('/').map(|(slash, _)| format!("{}**", &name[..=slash]));
    let parent = name.rfind('/').map(|slash| format!("{}*", &name[..=slash]));
    folders.chain(parent)
}

/// Whether a channel of the hub can be meant by a wildcard.
pub(super) fn is_public(name: &str) -> bool {
    name.starts_with('/') && kind_of(name) == Kind::Broadcast
}

fn kind_of(name: &str) -> Kind {
    if name.starts_with("/meta/") {
        Kind::Meta
    } else if name.starts_with("/service/") {
        Kind::Service
    } else {
        Kind::Broadcast
    }
}

fn is_segment(segment: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_!~()$@.+".contains(&byte);
    !segment.is_empty() && segment.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_segments_and_wildcards_stand_at_their_end() {
        for bad in [
            "", "/", "foo", "//a", "/a/", "/a//b", "/a b", "/*/a", "/**/x", "/a/***", "/a*", "/ä", "/a/*/*",
            "*",
        ] {
            assert_eq!(pattern(bad), None, "{bad}");
        }
        for (text, expected) in [
            ("/foo", (Kind::Broadcast, Pattern::One)),
            ("/foo/b-_!~()$@r", (Kind::Broadcast, Pattern::One)),
            ("/foo/*", (Kind::Broadcast, Pattern::Children("/foo/"))),
            ("/**", (Kind::Broadcast, Pattern::Below("/"))),
            ("/meta/**", (Kind::Meta, Pattern::Below("/meta/"))),
            ("/meta/x", (Kind::Meta, Pattern::One)),
            ("/metal", (Kind::Broadcast, Pattern::One)),
            ("/service/a/*", (Kind::Service, Pattern::Children("/service/a/"))),
        ] {
            assert_eq!(pattern(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_channel_is_meant_by_its_folders() {
        let all: Vec<String> = patterns_for("/a/b/c").collect();
        assert_eq!(all, ["/**", "/a/**", "/a/b/**", "/a/b/*"]);
        assert_eq!(patterns_for("/a").collect::<Vec<_>>(), ["/**", "/*"]);
        assert!(is_public("/a") && !is_public("a") && !is_public("/meta/a") && !is_public("/service/a/b"));
    }
}
