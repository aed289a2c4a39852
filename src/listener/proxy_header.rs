//! The header by which a load balancer says whose connection it passes on: PROXY protocol, versions 1 and 2; pure.
//!
//! It is read from whatever has arrived so far. While it isn't whole everything that has arrived is part of it, so
//! that it can be taken from the socket without a byte of what follows. A header that breaks a rule is no header:
//! whoever is trusted to send it speaks for others, and is not guessed at.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What the bytes of a connection begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// All of it belongs to a header that goes on.
    More,
    /// A whole header.
    Whole {
        /// Its bytes.
        length: usize,
        /// The client; `None` where the header leaves it open (`UNKNOWN`, `LOCAL`, a Unix socket), and the peer of
        /// the socket counts.
        client: Option<SocketAddr>,
    },
    /// No header.
    Bad(&'static str),
}

/// Bytes of the longest header: a version 1 line has 107, a version 2 header may carry certificates' names and the
/// like, which nginx bounds in the same way.
pub(super) const LENGTH_MAX: usize = 4096;

/// "PROXY TCP6" with two addresses and ports of full length, CR LF included.
const LINE_MAX: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;

/// Reads a header from the beginning of a connection.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(byte, expected)| byte == expected);
    if begins(LINE_START) {
        parse_line(bytes)
    } else if begins(SIGNATURE) {
        parse_binary(bytes)
    } else {
        Parsed::Bad("no PROXY header")
    }
}

/// `PROXY TCP4 192.0.2.7 192.0.2.1 40000 443` and CR LF (§2.1).
fn parse_line(bytes: &[u8]) -> Parsed {
    let seen = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if bytes.len() < LINE_MAX { Parsed::More } else { Parsed::Bad("a PROXY line without end") };
    };
    let line = seen[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    match line.and_then(client_of_line) {
        Some(client) => Parsed::Whole { length: end + 1, client },
        None => Parsed::Bad("a PROXY line that can't be understood"),
    }
}

#[expect(clippy::option_option, reason = "whether it is a line, and whether it names a client")]
fn client_of_line(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever stands behind it is to be ignored.
        return Some(None);
    }
    let mut address = || words.next()?.parse::<IpAddr>().ok();
    let (from, to) = (address()?, address()?);
    let (port, _) = (port(words.next()?)?, port(words.next()?)?);
    let fits = match family {
        "TCP4" => from.is_ipv4() && to.is_ipv4(),
        "TCP6" => from.is_ipv6() && to.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then(|| Some(socket_address(from, port)))
}

/// Digits as everybody writes them, since a second way to write a number is a second way to read it.
fn port(digits: &str) -> Option<u16> {
    let number: u16 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// Signature, `\x21`, family, length, addresses, and extensions (§2.2).
fn parse_binary(bytes: &[u8]) -> Parsed {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Parsed::More };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > LENGTH_MAX {
        return Parsed::Bad("a PROXY header that is too long");
    }
    let Some(body) = rest.get(..length) else { return Parsed::More };
    let client = match command {
        // The balancer itself, which looks whether we live; what else it says is to be ignored.
        0x20 => Ok(None),
        0x21 => client_of_body(family, body),
        _ => Err("a PROXY header of an unknown version or command"),
    };
    match client {
        Ok(client) => Parsed::Whole { length: FIXED + length, client },
        Err(reason) => Parsed::Bad(reason),
    }
}

fn client_of_body(family: u8, body: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    let addresses = match family >> 4 {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err("a PROXY header of an unknown family"),
    };
    if family & 0x0f > 2 {
        return Err("a PROXY header of an unknown transport");
    }
    let (addresses, extensions) =
        body.split_at_checked(addresses).ok_or("a PROXY header that is too short")?;
    // Without a family the whole of it may be anything.
    if family >> 4 != 0 && !are_extensions(extensions) {
        return Err("a PROXY header with broken extensions");
    }
    Ok(match (family, addresses) {
        (0x11, [a, b, c, d, _, _, _, _, port @ .., _, _]) => client(IpAddr::from([*a, *b, *c, *d]), port),
        (0x21, _) => addresses.first_chunk::<16>().and_then(|from| {
            client(IpAddr::from(Ipv6Addr::from(*from)), addresses.get(32..34).unwrap_or_default())
        }),
        // Datagrams and Unix sockets name nobody that a connection could come from.
        _ => None,
    })
}

fn client(ip: IpAddr, port: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*port.first_chunk()?);
    Some(socket_address(ip, port))
}

fn socket_address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// Whether these are type, length and value, again and again up to the end (§2.2). None of them is of use here.
fn are_extensions(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let [_, high, low, rest @ ..] = bytes else { return false };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(rest) = rest.get(length..) else { return false };
        bytes = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, body].concat()
    }

    /// The client of a whole header; the reason where there is none.
    fn read(bytes: &[u8]) -> Result<Option<String>, &'static str> {
        match parse(bytes) {
            Parsed::Whole { length, client } => {
                assert_eq!(length, bytes.len());
                Ok(client.map(|client| client.to_string()))
            }
            Parsed::More => Err("more"),
            Parsed::Bad(reason) => Err(reason),
        }
    }

    const V4: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0x9c, 0x40, 0x01, 0xbb];

    fn v6() -> Vec<u8> {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        [&address("2001:db8::7")[..], &address("2001:db8::1"), &[0x9c, 0x40, 0x01, 0xbb]].concat()
    }

    #[test]
    fn a_line_names_the_client() {
        let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535";
        let good = [
            ("PROXY TCP4 192.0.2.7 192.0.2.1 40000 443", Some("192.0.2.7:40000")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", Some("255.255.255.255:65535")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 40000 443", Some("[2001:db8::7]:40000")),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2", Some("192.0.2.7:1")),
            ("PROXY UNKNOWN", None),
            (longest, None),
        ];
        for (line, client) in good {
            assert_eq!(read(format!("{line}\r\n").as_bytes()), Ok(client.map(str::to_owned)), "{line}");
        }
    }

    #[test]
    fn a_line_that_could_be_read_in_two_ways_is_none() {
        let bad = [
            "PROXY TCP4 192.0.2.7 192.0.2.1 40000",
            "PROXY TCP4 192.0.2.7 192.0.2.1 40000 443 1",
            "PROXY TCP4 192.0.2.7  192.0.2.1 40000 443",
            "PROXY TCP4 192.0.2.7 192.0.2.1 040000 443",
            "PROXY TCP4 192.0.2.7 192.0.2.1 +1 443",
            "PROXY TCP4 192.0.2.7 192.0.2.1 65536 443",
            "PROXY TCP4 192.0.2.07 192.0.2.1 1 443",
            "PROXY TCP4 2001:db8::7 2001:db8::1 1 443",
            "PROXY TCP6 192.0.2.7 192.0.2.1 1 443",
            "PROXY TCP5 192.0.2.7 192.0.2.1 1 443",
            "PROXY tcp4 192.0.2.7 192.0.2.1 1 443",
            "PROXY TCP4 host 192.0.2.1 1 443",
            "PROXY ",
            "PROXY TCP4 192.0.2.7 192.0.2.1 1 443\r",
        ];
        for line in bad {
            assert!(matches!(parse(format!("{line}\r\n").as_bytes()), Parsed::Bad(_)), "{line}");
        }
        assert!(matches!(parse(b"PROXY UNKNOWN\n"), Parsed::Bad(_)), "without CR");
        assert!(
            matches!(parse(&[b"PROXY ", &[b'x'; 101][..]].concat()), Parsed::Bad(_)),
            "107 bytes, no end"
        );
    }

    #[test]
    fn what_is_no_header_is_seen_at_its_first_byte() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"proxy ", b"PROXZ", b"\r\n\r\nGET", b"\r\n\r\n\r"]
        {
            assert!(matches!(parse(bytes), Parsed::Bad(_)), "{}", bytes.escape_ascii());
        }
        for bytes in
            [&b""[..], b"P", b"PROXY", b"\r", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]
        {
            assert_eq!(parse(bytes), Parsed::More, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_binary_header_names_the_client_or_leaves_it_open() {
        let extensions = [V4, &[3, 0, 4, 1, 2, 3, 4, 0xee, 0, 0]].concat();
        let good = [
            (0x21, 0x11, V4.to_vec(), Some("192.0.2.7:40000")),
            (0x21, 0x11, extensions, Some("192.0.2.7:40000")),
            (0x21, 0x21, v6(), Some("[2001:db8::7]:40000")),
            (0x21, 0x31, vec![b'a'; 216], None),
            (0x21, 0x12, V4.to_vec(), None),
            (0x21, 0x00, vec![1, 2, 3], None),
            (0x20, 0x00, vec![], None),
            (0x20, 0x11, V4.to_vec(), None),
            (0x20, 0xff, vec![1], None),
        ];
        for (command, family, body, client) in good {
            let header = binary(command, family, &body);
            assert_eq!(read(&header), Ok(client.map(str::to_owned)), "{command:x} {family:x}");
        }
    }

    #[test]
    fn a_binary_header_that_breaks_a_rule_is_none() {
        let bad = [
            (0x22, 0x11, V4.to_vec()),
            (0x11, 0x11, V4.to_vec()),
            (0x21, 0x41, V4.to_vec()),
            (0x21, 0x13, V4.to_vec()),
            (0x21, 0x11, V4[..11].to_vec()),
            (0x21, 0x21, V4.to_vec()),
            (0x21, 0x31, vec![b'a'; 215]),
            (0x21, 0x11, [V4, &[3, 0]].concat()),
            (0x21, 0x11, [V4, &[3, 0, 4, 1, 2, 3]].concat()),
            (0x21, 0x11, [V4, &[3, 0xff, 0xff]].concat()),
            (0x21, 0x11, vec![0; LENGTH_MAX]),
        ];
        for (command, family, body) in bad {
            let header = binary(command, family, &body);
            assert!(matches!(parse(&header), Parsed::Bad(_)), "{command:x} {family:x} {}", body.len());
        }
        let too_long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        assert!(matches!(parse(&too_long), Parsed::Bad(_)), "refused before it is awaited");
    }

    fn header() -> impl Strategy<Value = Vec<u8>> {
        let line = (any::<[u8; 4]>(), any::<u16>()).prop_map(|(from, port)| {
            format!("PROXY TCP4 {} 192.0.2.1 {port} 443\r\n", IpAddr::from(from)).into_bytes()
        });
        let extension = prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|value| [&[0xe0, 0, u8::try_from(value.len()).unwrap()][..], &value].concat());
        let extensions = prop::collection::vec(extension, 0..4).prop_map(|all| all.concat());
        let binary = (any::<bool>(), extensions).prop_map(|(six, extensions)| {
            let (family, addresses) = if six { (0x21, v6()) } else { (0x11, V4.to_vec()) };
            binary(0x21, family, &[addresses, extensions].concat())
        });
        prop_oneof![line, binary]
    }

    proptest! {
        #[test]
        fn a_header_is_the_same_wherever_it_is_split_and_whatever_follows(
            header in header(),
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let whole = parse(&header);
            let length = header.len();
            let is_whole = matches!(whole, Parsed::Whole { length: said, client: Some(_) } if said == length);
            prop_assert!(is_whole, "{:?}", whole);
            for end in 0..length {
                prop_assert_eq!(parse(&header[..end]), Parsed::More);
            }
            prop_assert_eq!(parse(&[header, rest].concat()), whole);
        }

        #[test]
        fn no_bytes_are_too_strange_and_none_are_taken_that_are_not_there(
            start in prop::sample::select(vec![&b""[..], b"PROXY TCP4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, &rest].concat();
            if let Parsed::Whole { length, .. } = parse(&bytes) {
                prop_assert!(length <= bytes.len().min(LENGTH_MAX));
            }
        }
    }
}
