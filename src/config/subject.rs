//! Whom a certificate is for, as RFC 4514 writes it: `CN=shop,O=Example`; what `openssl x509 -noout -subject -nameopt
//! RFC2253,-esc_msb` prints.
//!
//! Two texts are the same subject only where they are equal to the last byte: a certificate is let in for what was
//! typed, or not at all. So a certificate with a value that has no text, or more than one value in one place, has no
//! subject here that could be typed by mistake.

use std::fmt::Write as _;

use webpki::EndEntityCert;

use super::der::Der;
use super::form::{Form, Unfit};

/// A distinguished name that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(Box<str>);

impl Subject {
    /// That of a certificate; `None` where it has none, or one that can't be written.
    pub fn of_certificate(der: &[u8]) -> Option<Subject> {
        let certificate = rustls::pki_types::CertificateDer::from(der);
        let parsed = EndEntityCert::try_from(&certificate).ok()?;
        written(parsed.subject()).map(Subject)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(super) static SUBJECT: Form<Subject> = Form {
    expected: "the subject of a certificate as `openssl x509 -noout -subject -nameopt RFC2253,-esc_msb` prints it, \
               like `CN=shop,O=Example`",
    read: |text| match is_subject(text) {
        true => Ok(Subject(text.into())),
        false => Err(Unfit::Unlike),
    },
};

/// Whether each part is one kind and a value, without the blanks that other forms have around `=` and `,`.
fn is_subject(text: &str) -> bool {
    let mut parts = vec![String::new()];
    let mut is_escaped = false;
    for c in text.chars() {
        match (c, parts.last_mut()) {
            ('+', _) if !is_escaped => return false,
            (',', _) if !is_escaped => parts.push(String::new()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    parts.iter().all(|part| {
        let Some((kind, value)) = part.split_once('=') else { return false };
        KINDS.iter().any(|(_, known)| *known == kind) && !value.starts_with(' ')
    })
}

/// The parts of a name (RFC 5280 §4.1.2.4), the last one first (RFC 4514 §2.1).
fn written(name: &[u8]) -> Option<Box<str>> {
    let mut rest = Der(name);
    let mut parts = Vec::new();
    while !rest.0.is_empty() {
        parts.push(part(rest.take(SET)?)?);
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(",").into())
}

/// One part, of one kind and its value.
fn part(set: &[u8]) -> Option<String> {
    let mut set = Der(set);
    let mut pair = Der(set.take(SEQUENCE)?);
    let kind = pair.take(OBJECT_IDENTIFIER)?;
    let (tag, value) = pair.any()?;
    if !set.0.is_empty() || !pair.0.is_empty() || !matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING)
    {
        return None;
    }
    let (_, name) = KINDS.iter().find(|(known, _)| *known == kind)?;
    let value = std::str::from_utf8(value).ok()?;
    Some(format!("{name}={}", escaped(value)))
}

/// RFC 4514 §2.4.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', c]),
            '#' if at == 0 => text.push_str("\\#"),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            c if c.is_ascii_control() => {
                // Writing to a string doesn't fail.
                let _ = write!(text, "\\{:02X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text
}

const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// The kinds of RFC 4519 and PKCS #9 that subjects are made of, as OpenSSL names them.
static KINDS: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    // 0.9.2342.19200300.100.1
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    // 1.2.840.113549.1.9.1
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn subject(parts: &[(DnType, &str)]) -> Option<String> {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            parameters.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Subject::of_certificate(certificate.der()).map(|subject| subject.as_str().to_owned())
    }

    #[test]
    fn a_subject_is_written_backwards_and_escaped() {
        use DnType::*;
        let table: [(&[_], Option<&str>); 7] = [
            (&[(CommonName, "shop")], Some("CN=shop")),
            (
                &[(CountryName, "DE"), (OrganizationName, "Example"), (CommonName, "käse")],
                Some("CN=käse,O=Example,C=DE"),
            ),
            (&[(CommonName, "a,b=c+d\"e\\f<g>;h#")], Some(r#"CN=a\,b=c\+d\"e\\f\<g\>\;h#"#)),
            (&[(CommonName, "# x ")], Some(r"CN=\# x\ ")),
            (&[(CommonName, "a\nb")], Some(r"CN=a\0Ab")),
            (&[(CustomDnType(vec![1, 2, 3, 4]), "x"), (CommonName, "shop")], None),
            (&[], None),
        ];
        for (parts, expected) in table {
            let found = subject(parts);
            assert_eq!(found.as_deref(), expected, "{parts:?}");
            assert!(found.is_none_or(|text| is_subject(&text)));
        }
        assert_eq!(Subject::of_certificate(b"nonsense"), None);
        assert_eq!(written(&[0x31, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn what_no_certificate_could_have_is_not_typed_in_vain() {
        for good in ["CN=shop", "CN=shop,O=Example", r"CN=a\,b", "CN=a b", "CN=", r"CN=x\ "] {
            assert!(is_subject(good), "{good}");
        }
        for bad in [
            "",
            "shop",
            "CN = shop, O = Example",
            "CN=shop, O=Example",
            "=shop",
            "CN=shop,",
            "/CN=shop",
            "CN=a+OU=b",
            "cn=shop",
        ] {
            assert!(!is_subject(bad), "{bad}");
        }
    }
}
