//! The name of a file below a folder, which leads nowhere else; pure.

/// Bytes of a name; longer ones are no path to the system (`PATH_MAX`).
const NAME_MAX: usize = 4095;

/// A relative path without empty segments, `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    path: Vec<u8>,
    /// Whether a folder is meant: the path is empty or ends with a slash.
    is_folder: bool,
}

impl Name {
    /// From what stands behind the prefix of a route: decoded, with dot segments resolved. `None` for what nobody
    /// shall see: hidden files, and whatever could be read in two ways.
    pub fn of_request(path: &[u8]) -> Option<Name> {
        let hidden = |segment: &[u8]| segment.starts_with(b".") && segment != b".well-known";
        Name::new(path).filter(|name| !name.segments().any(hidden))
    }

    /// From what an application says stands below a folder. It may name hidden files.
    pub fn of_application(path: &[u8]) -> Option<Name> {
        Name::new(path).filter(|name| !name.is_folder)
    }

    fn new(path: &[u8]) -> Option<Name> {
        let is_folder = path.is_empty() || path.ends_with(b"/");
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let name = Name { path: path.to_vec(), is_folder };
        let odd = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
        let plain = path.is_empty() || !name.segments().any(odd);
        let readable = !path.iter().any(|byte| matches!(byte, 0 | b'\\'));
        (plain && readable && path.len() <= NAME_MAX).then_some(name)
    }

    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.path.split(|byte| *byte == b'/')
    }

    /// Whether a folder is meant.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// The path, empty for the folder itself.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Of a file in the folder that is meant.
    pub(super) fn join(&self, file: &str) -> Name {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(file.as_bytes());
        Name { path, is_folder: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_down_only_and_hides_what_begins_with_a_dot() {
        let table = [
            (&b"a.css"[..], Some(("a.css", false))),
            (b"/a/b", Some(("a/b", false))),
            (b"a/", Some(("a", true))),
            (b"", Some(("", true))),
            (b"/", Some(("", true))),
            (b".well-known/acme/x", Some((".well-known/acme/x", false))),
            (b"a..b/c.", Some(("a..b/c.", false))),
            (b"..", None),
            (b"a/../b", None),
            (b"a//b", None),
            (b"//etc/passwd", None),
            (b".git/config", None),
            (b"a/.htaccess", None),
            (b".well-known/.x", None),
            (b"a\\b", None),
            (b"a\0b", None),
        ];
        for (path, expected) in table {
            let name = Name::of_request(path);
            let said = name.as_ref().map(|name| (std::str::from_utf8(&name.path).unwrap(), name.is_folder));
            assert_eq!(said, expected, "{}", path.escape_ascii());
        }
        assert_eq!(Name::of_request(&[b'a'; NAME_MAX + 1]), None);
    }

    #[test]
    fn an_application_may_name_a_hidden_file_but_no_folder() {
        assert!(Name::of_application(b"/.cache/1").is_some());
        for path in [&b"/a/../b"[..], b"a/", b""] {
            assert_eq!(Name::of_application(path), None, "{}", path.escape_ascii());
        }
    }
}
