//! Certificate chains and their keys: read from PEM files, matched, and not expired.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::file;
use super::problem::{Fault, Placed, Problem};

/// Reads a chain, its leaf first, and the key of the leaf. Both may be in one file.
pub(super) fn read(
    chain: &Placed<impl AsRef<Path>>,
    key: &Placed<impl AsRef<Path>>,
    now: SystemTime,
) -> Result<Arc<CertifiedKey>, Problem> {
    let (chain_path, key_path) = (chain.value.as_ref(), key.value.as_ref());
    let certificates = chain_in(chain_path, now).map_err(|fault| Problem::new(chain.place, fault))?;
    let signing = key_in(key_path).map_err(|fault| Problem::new(key.place, fault))?;
    let certified = CertifiedKey::new(certificates, signing);
    match certified.keys_match() {
        // A key that can't tell its public half can't be compared.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(Error::InconsistentKeys(_)) => {
            let reason = format!("is not the key of the certificate in `{}`", chain_path.display());
            Err(Problem::new(key.place, unusable(key_path, reason)))
        }
        Err(error) => {
            let reason = format!("holds a certificate that can't be read: {error}");
            Err(Problem::new(chain.place, unusable(chain_path, reason)))
        }
    }
}

fn chain_in(path: &Path, now: SystemTime) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = file::read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, format!("is not PEM: {error}")))?;
    let leaf = certificates.first().ok_or_else(|| unusable(path, "holds no certificate in PEM form"))?;
    let end = validity_end(leaf).ok_or_else(|| unusable(path, "holds something that is no certificate"))?;
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if end.unix_seconds() <= i64::try_from(now).unwrap_or(i64::MAX) {
        let Date { year, month, day, .. } = end;
        return Err(unusable(
            path,
            format!("holds a certificate that expired on {year}-{month:02}-{day:02}"),
        ));
    }
    Ok(certificates)
}

fn key_in(path: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, Fault> {
    let pem = file::read(path)?;
    let key = PrivateKeyDer::pem_slice_iter(&pem).next();
    let encrypted = memchr::memmem::find(&pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some();
    match key {
        Some(Ok(key)) => any_supported_type(&key)
            .map_err(|_| unusable(path, "holds a key that is not RSA, ECDSA (P-256, P-384) or Ed25519")),
        Some(Err(error)) => Err(unusable(path, format!("is not PEM: {error}"))),
        None if encrypted => Err(unusable(path, "holds a key under a passphrase, which nobody could type")),
        None => Err(unusable(path, "holds no private key in PEM form")),
    }
}

fn unusable(path: &Path, reason: impl Into<String>) -> Fault {
    Fault::Certificate { path: path.display().to_string(), reason: reason.into() }
}

/// A moment as certificates write it, in UTC.
#[derive(Debug, PartialEq, Eq)]
struct Date {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Date {
    /// Days are counted from the first of March, so that a leap day is the last of its year.
    fn unix_seconds(&self) -> i64 {
        let (year, month) =
            if self.month > 2 { (self.year, self.month - 3) } else { (self.year - 1, self.month + 9) };
        let leap_days = year / 4 - year / 100 + year / 400;
        let days = year * 365 + leap_days + (month * 153 + 2) / 5 + self.day - 1;
        const DAYS_TO_1970: i64 = 719_468;
        (days - DAYS_TO_1970) * 86_400 + self.second_of_day
    }
}

/// The end of a certificate's validity (RFC 5280 §4.1): the only field that rustls reads but doesn't show.
fn validity_end(certificate: &[u8]) -> Option<Date> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let mut outer = Der(certificate);
    let mut certificate = Der(outer.take(SEQUENCE)?);
    let mut to_be_signed = Der(certificate.take(SEQUENCE)?);
    if to_be_signed.0.first() == Some(&VERSION) {
        to_be_signed.any()?;
    }
    let (_serial, _algorithm, _issuer) = (to_be_signed.any()?, to_be_signed.any()?, to_be_signed.any()?);
    let mut validity = Der(to_be_signed.take(SEQUENCE)?);
    let (_not_before, (tag, not_after)) = (validity.any()?, validity.any()?);
    date(tag, not_after)
}

/// `YYMMDDHHMMSSZ` before 2050, `YYYYMMDDHHMMSSZ` after (RFC 5280 §4.1.2.5).
fn date(tag: u8, text: &[u8]) -> Option<Date> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, rest) = match tag {
        UTC_TIME => (number(0, 2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        GENERALIZED_TIME => (number(0, 4)?, 4),
        _ => return None,
    };
    let two = |index: usize| number(rest + 2 * index, rest + 2 * index + 2);
    let (month, day) = (two(0)?, two(1)?);
    let second_of_day = two(2)? * 3600 + two(3)? * 60 + two(4)?;
    (1..=12).contains(&month).then_some(Date { year, month, day, second_of_day })
}

/// What is left of a run of DER values (X.690 §8.1).
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    fn any(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}
