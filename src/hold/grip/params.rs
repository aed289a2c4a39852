//! Values with parameters: `name; prev-id=1; filter="a, b", other`.

/// A value and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) value: String,
    params: Vec<(String, String)>,
}

impl Element {
    /// The first parameter with this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every parameter with this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let own = self.params.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.as_str())
    }

    pub(super) fn has_params(&self) -> bool {
        !self.params.is_empty()
    }
}

/// Every element of a value that can be read; one with a quote that doesn't end is left out, as Pushpin does.
pub(super) fn elements(text: &str) -> Vec<Element> {
    split(text, ',', false).into_iter().filter_map(|element| read(element.trim(), false)).collect()
}

/// The same of links, in which `<…>` keeps together what stands in it.
pub(super) fn link_elements(text: &str) -> Vec<Element> {
    split(text, ',', true).into_iter().filter_map(|element| read(element.trim(), true)).collect()
}

/// One element, commas and all.
fn read(text: &str, angles: bool) -> Option<Element> {
    let mut parts = split(text, ';', angles).into_iter();
    let value = unquoted(parts.next()?.trim())?;
    let params = parts.map(str::trim).filter(|part| !part.is_empty()).map(param);
    let params = params.collect::<Option<Vec<_>>>()?;
    (!value.is_empty() || !params.is_empty()).then_some(Element { value, params })
}

/// `name=value`, or a name by itself.
pub(super) fn param(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Some((name.trim().to_owned(), unquoted(value.trim())?))
}

/// Cuts where a separator stands outside of quotes and, with `angles`, of `<…>`.
fn split(text: &str, separator: char, angles: bool) -> Vec<&str> {
    let (mut pieces, mut from) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut angled) = (false, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if angles && !quoted => angled = true,
            '>' if !quoted => angled = false,
            _ if letter == separator && !quoted && !angled => {
                pieces.push(&text[from..at]);
                from = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(&text[from..]);
    pieces
}

/// Without its quotes; `None` where they don't end.
fn unquoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let mut plain = String::new();
    let mut letters = inner.chars();
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(plain),
            '\\' => plain.push(letters.next()?),
            letter => plain.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_a_value_with_parameters() {
        let read = elements(r#"a; prev-id=1; filter=x; filter="y, z", b,, c; Prev-ID="\"q\"", d; x="open"#);
        let values: Vec<&str> = read.iter().map(|element| element.value.as_str()).collect();
        assert_eq!(values, ["a", "b", "c"]);
        assert_eq!(read[0].all("filter").collect::<Vec<_>>(), ["x", "y, z"]);
        assert_eq!((read[0].get("prev-id"), read[2].get("prev-id")), (Some("1"), Some("\"q\"")));
        assert!(!read[1].has_params());
        let names = elements("a<b, c").into_iter().map(|element| element.value);
        assert_eq!(names.collect::<Vec<_>>(), ["a<b", "c"]);
        let links = link_elements("</a?x=1,2;3>; rel=next, <b>; rel=gone");
        assert_eq!(links.iter().map(|link| link.value.as_str()).collect::<Vec<_>>(), ["</a?x=1,2;3>", "<b>"]);
    }
}
