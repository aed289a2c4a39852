//! The record protection of TLS 1.3 (RFC 8446 §5.2) from a key, an IV and a number; no I/O.
//!
//! Invariant: a number is used for one plaintext only. Whoever seals a record again offers the same bytes, and
//! [`Mark`] tells whether it did.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;
use zeroize::Zeroize;

use super::error::{CLOSE_NOTIFY, Fault, WireError};

/// Bytes of a record's header.
pub(super) const HEADER: usize = 5;
/// Plaintext bytes of the largest record (RFC 8446 §5.1).
pub(super) const PLAINTEXT_MAX: usize = 1 << 14;
/// What a sealed record that we write is longer by than its plaintext: header, content type, tag.
pub(super) const OVERHEAD: usize = HEADER + 1 + TAG;
/// Bytes after the header of the largest record that a TLS 1.3 peer may send (RFC 8446 §5.2).
pub(super) const TLS13_PAYLOAD_MAX: usize = PLAINTEXT_MAX + 256;
/// The same for TLS 1.2 (RFC 5246 §6.2.3), and so for any record.
pub(super) const PAYLOAD_MAX: usize = PLAINTEXT_MAX + 2048;

/// All ciphers of TLS 1.3 that ring has use tags of this length.
const TAG: usize = 16;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const USER_CANCELED: u8 = 90;

/// The cipher of a connection, for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

impl Cipher {
    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Cipher::Aes128Gcm => &aead::AES_128_GCM,
            Cipher::Aes256Gcm => &aead::AES_256_GCM,
            Cipher::Chacha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    /// Records that one key may seal: where rustls asks for new keys, which takes the session that is gone.
    fn records_max(self) -> u64 {
        match self {
            // RFC 8446 §5.5 allows 2^24.5 full-size records.
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => 1 << 24,
            // No limit but the number's own; far enough from its end that a farewell never wraps it.
            Cipher::Chacha20Poly1305 => u64::MAX - 0xffff,
        }
    }
}

/// Key, IV and number of the next record, of one direction. Wiped when dropped.
pub(super) struct Keys {
    /// A `u64`, as bytes since its alignment would cost a connection eight bytes and so the next size class.
    number: [u8; 8],
    key: [u8; 32],
    iv: [u8; aead::NONCE_LEN],
}

impl Keys {
    /// From what rustls gives out, with the cipher it is for.
    pub(super) fn new(
        (number, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<(Cipher, Keys), WireError> {
        let (cipher, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Cipher::Chacha20Poly1305, key, iv),
            _ => return Err(WireError::UnknownCipher),
        };
        let mut keys = Keys { number: number.to_ne_bytes(), key: [0; 32], iv: [0; aead::NONCE_LEN] };
        let length = cipher.algorithm().key_len();
        keys.key[..length].copy_from_slice(&key.as_ref()[..length]);
        keys.iv.copy_from_slice(iv.as_ref());
        Ok((cipher, keys))
    }

    /// The key with its schedule: hundreds of bytes, made anew for each turn so that nobody keeps them.
    pub(super) fn schedule(&self, cipher: Cipher) -> LessSafeKey {
        let algorithm = cipher.algorithm();
        let key = UnboundKey::new(algorithm, &self.key[..algorithm.key_len()]);
        LessSafeKey::new(key.expect("the slice has the cipher's key length"))
    }

    /// Whether the record `ahead` of the next one may still carry application data.
    pub(super) fn may_seal(&self, cipher: Cipher, ahead: u64) -> bool {
        self.number().saturating_add(ahead) < cipher.records_max()
    }

    /// The next `count` records are done with.
    pub(super) fn advance(&mut self, count: u64) {
        self.number = (self.number() + count).to_ne_bytes();
    }

    /// Of the next record.
    fn number(&self) -> u64 {
        u64::from_ne_bytes(self.number)
    }

    /// RFC 8446 §5.3.
    fn nonce(&self, ahead: u64) -> Nonce {
        let mut nonce = self.iv;
        let number = (self.number() + ahead).to_be_bytes();
        for (byte, number) in nonce[aead::NONCE_LEN - number.len()..].iter_mut().zip(number) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals in place the record that is `ahead` of the next one. `record` is header, plaintext, type and tag, of
    /// which the caller has filled in the plaintext.
    pub(super) fn seal(&self, schedule: &LessSafeKey, ahead: u64, record: &mut [u8]) -> Mark {
        self.seal_as(APPLICATION_DATA, schedule, ahead, record)
    }

    /// The next record as an alert that ends the connection.
    pub(super) fn seal_alert(&self, schedule: &LessSafeKey, description: u8) -> [u8; OVERHEAD + 2] {
        let mut record = [0; OVERHEAD + 2];
        let level = if description == CLOSE_NOTIFY { 1 } else { 2 };
        record[HEADER..HEADER + 2].copy_from_slice(&[level, description]);
        self.seal_as(ALERT, schedule, 0, &mut record);
        record
    }

    fn seal_as(&self, content: u8, schedule: &LessSafeKey, ahead: u64, record: &mut [u8]) -> Mark {
        let payload =
            u16::try_from(record.len() - HEADER).expect("a record is shorter than 64 KiB").to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, payload[0], payload[1]];
        record[..HEADER].copy_from_slice(&header);
        let (sealed, tag) =
            record[HEADER..].split_last_chunk_mut::<TAG>().expect("the caller left room for the tag");
        *sealed.last_mut().expect("the caller left room for the type") = content;
        let computed = schedule
            .seal_in_place_separate_tag(self.nonce(ahead), Aad::from(header), sealed)
            .expect("a record is far below the cipher's own limit");
        tag.copy_from_slice(computed.as_ref());
        Mark::of(tag)
    }

    /// Opens the next record, a whole one with its header, in place.
    pub(super) fn open<'r>(
        &mut self,
        schedule: &LessSafeKey,
        record: &'r mut [u8],
    ) -> Result<Content<'r>, Fault> {
        let (header, payload) = record.split_first_chunk_mut::<HEADER>().ok_or(Fault::NotTls)?;
        if header[0] != APPLICATION_DATA {
            return Err(Fault::Unexpected(header[0]));
        }
        let opened =
            schedule.open_in_place(self.nonce(0), Aad::from(*header), payload).map_err(|_| Fault::BadMac)?;
        self.advance(1);
        content(opened)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

/// By what one sealing is known again: part of its tag, which depends on every byte, on key and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark([u8; 8]);

impl Mark {
    fn of(tag: &[u8; TAG]) -> Mark {
        let mut mark = Mark::default();
        mark.0.copy_from_slice(&tag[..8]);
        mark
    }
}

/// What an opened record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'r> {
    /// Application data, possibly none.
    Data(&'r [u8]),
    /// `close_notify`: nothing comes after it.
    End,
}

/// Content type and padding (RFC 8446 §5.4) taken off.
fn content(opened: &[u8]) -> Result<Content<'_>, Fault> {
    let unpadded = opened.iter().rposition(|&byte| byte != 0).ok_or(Fault::Unexpected(0))?;
    let (inner, content) = (&opened[..unpadded], opened[unpadded]);
    if inner.len() > PLAINTEXT_MAX {
        return Err(Fault::Oversized);
    }
    match (content, inner) {
        (APPLICATION_DATA, _) => Ok(Content::Data(inner)),
        (ALERT, [_, CLOSE_NOTIFY]) => Ok(Content::End),
        // Only announces a close_notify (RFC 8446 §6.1).
        (ALERT, [_, USER_CANCELED]) => Ok(Content::Data(&[])),
        (ALERT, &[_, description]) => Err(Fault::Alert(description)),
        (HANDSHAKE, &[message, ..]) => Err(Fault::Handshake(message)),
        _ => Err(Fault::Unexpected(content)),
    }
}

/// Length, header included, of the record that `bytes` begin with; `None` while it isn't all there.
/// Looks at no more than the header, so that a bad one fails before its payload is waited for.
pub(super) fn whole(bytes: &[u8], payload_max: usize) -> Result<Option<usize>, Fault> {
    const CONTENT_TYPES: std::ops::RangeInclusive<u8> = 20..=24;
    if bytes.first().is_some_and(|content| !CONTENT_TYPES.contains(content)) {
        return Err(Fault::NotTls);
    }
    let Some(&[_, _, _, high, low]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let payload = usize::from(u16::from_be_bytes([high, low]));
    if payload > payload_max {
        return Err(Fault::Oversized);
    }
    Ok(Some(HEADER + payload).filter(|&length| length <= bytes.len()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// "{server} send application_data record" of RFC 8448 §3, byte for byte.
    #[test]
    fn a_sealed_record_is_the_one_of_rfc_8448() {
        let keys = keys(1, key("9f02283b6c9c07efc26bb9f2ac92e356"), iv("cf782b88dd83549aadf1e984"));
        let plaintext: Vec<u8> = (0..50).collect();
        let mut record = vec![0; plaintext.len() + OVERHEAD];
        record[HEADER..HEADER + 50].copy_from_slice(&plaintext);
        keys.seal(&keys.schedule(Cipher::Aes128Gcm), 0, &mut record);
        let expected = "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb50\
            1a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d";
        assert_eq!(hex(&record), expected);
    }

    #[test]
    fn what_one_side_seals_the_other_opens_with_every_cipher() {
        for cipher in [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::Chacha20Poly1305] {
            for length in [0, 1, 150, PLAINTEXT_MAX] {
                let ours = keys(7, [3; 32], [9; 12]);
                let mut theirs = keys(7, [3; 32], [9; 12]);
                let mut record = vec![b'x'; length + OVERHEAD];
                ours.seal(&ours.schedule(cipher), 0, &mut record);
                let schedule = theirs.schedule(cipher);
                let opened = theirs.open(&schedule, &mut record);
                assert_eq!(opened, Ok(Content::Data(&vec![b'x'; length])), "{cipher:?} {length}");
                assert_eq!(theirs.number(), 8);
            }
        }
    }

    #[test]
    fn a_mark_knows_bytes_and_number_again() {
        let ours = keys(0, [1; 32], [1; 12]);
        let mark =
            |ahead, byte| ours.seal(&ours.schedule(Cipher::Aes128Gcm), ahead, &mut [byte; 40 + OVERHEAD]);
        assert_eq!(mark(0, b'a'), mark(0, b'a'));
        assert_ne!(mark(0, b'a'), mark(0, b'b'));
        assert_ne!(mark(0, b'a'), mark(1, b'a'));
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let ours = keys(0, [1; 32], [1; 12]);
        let schedule = ours.schedule(Cipher::Aes256Gcm);
        let mut sealed = vec![b'x'; 10 + OVERHEAD];
        ours.seal(&schedule, 0, &mut sealed);
        for at in 1..sealed.len() {
            let mut theirs = keys(0, [1; 32], [1; 12]);
            let mut record = sealed.clone();
            record[at] ^= 1;
            assert_eq!(theirs.open(&schedule, &mut record), Err(Fault::BadMac), "byte {at}");
        }
    }

    #[test]
    fn the_inside_of_a_record_is_read_as_rfc_8446_says() {
        let data = |bytes| Ok(Content::Data(bytes));
        let table: [(&[u8], Result<Content<'_>, Fault>); 11] = [
            (b"ab\x17", data(b"ab")),
            (b"ab\x17\0\0\0", data(b"ab")),
            (b"a\0\x17", data(b"a\0")),
            (b"\x17", data(b"")),
            (&[1, 0, 21], Ok(Content::End)),
            (&[2, 0, 21], Ok(Content::End)),
            (&[1, 90, 21], data(b"")),
            (&[2, 80, 21], Err(Fault::Alert(80))),
            (&[1, 21], Err(Fault::Unexpected(21))),
            (&[24, 0, 0, 1, 1, 22], Err(Fault::Handshake(24))),
            (&[0, 0, 0], Err(Fault::Unexpected(0))),
        ];
        for (opened, expected) in table {
            assert_eq!(content(opened), expected, "{opened:?}");
        }
        let mut large = vec![b'x'; PLAINTEXT_MAX + 1];
        large.push(APPLICATION_DATA);
        assert_eq!(content(&large), Err(Fault::Oversized));
    }

    #[test]
    fn a_header_tells_where_its_record_ends() {
        type Expected = Result<Option<usize>, Fault>;
        let table: [(&[u8], Expected); 8] = [
            (b"", Ok(None)),
            (b"\x17\x03\x03\x00", Ok(None)),
            (b"\x17\x03\x03\x00\x02", Ok(None)),
            (b"\x17\x03\x03\x00\x02ab", Ok(Some(7))),
            (b"\x17\x03\x03\x00\x02abc", Ok(Some(7))),
            (b"\x17\x03\x03\x41\x00", Ok(None)),
            (b"\x17\x03\x03\x41\x01", Err(Fault::Oversized)),
            (b"GET / HTTP/1.1\r\n", Err(Fault::NotTls)),
        ];
        for (bytes, expected) in table {
            assert_eq!(whole(bytes, TLS13_PAYLOAD_MAX), expected, "{bytes:?}");
        }
    }

    #[test]
    fn keys_stop_where_rustls_stops() {
        let provider = rustls::crypto::ring::default_provider();
        for suite in provider.cipher_suites.iter().filter_map(|suite| suite.tls13()) {
            let cipher = match suite.common.suite {
                rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => Cipher::Aes128Gcm,
                rustls::CipherSuite::TLS13_AES_256_GCM_SHA384 => Cipher::Aes256Gcm,
                _ => Cipher::Chacha20Poly1305,
            };
            // rustls's own limit on the number itself.
            let limit = suite.common.confidentiality_limit.min(0xffff_ffff_ffff_0000);
            let keys = keys(limit - 1, [0; 32], [0; 12]);
            assert!(keys.may_seal(cipher, 0) && !keys.may_seal(cipher, 1), "{cipher:?}");
        }
    }

    pub(in super::super) fn keys(number: u64, key: [u8; 32], iv: [u8; 12]) -> Keys {
        Keys { number: number.to_ne_bytes(), key, iv }
    }

    fn key(hex: &str) -> [u8; 32] {
        let mut key = [0; 32];
        key[..hex.len() / 2].copy_from_slice(&bytes(hex));
        key
    }

    fn iv(hex: &str) -> [u8; 12] {
        bytes(hex).try_into().unwrap()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
