//! Certificate chains and their keys: read from PEM files, matched, and not expired.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::der::Der;
use super::listen::Certificate;
use super::problem::{Fault, Placed, Problem};
use super::{Secret, file};

/// Reads a chain, its leaf first, and the key of the leaf. Both may be in one file.
pub(super) fn read(
    chain: Placed<PathBuf>,
    key: Placed<PathBuf>,
    now: SystemTime,
) -> Result<Certificate, Problem> {
    let (certificates, not_after) =
        chain_in(&chain.value, now).map_err(|fault| Problem::new(chain.place, fault))?;
    let signing = key_in(&key.value).map_err(|fault| Problem::new(key.place, fault))?;
    let certified = CertifiedKey::new(certificates, signing);
    match certified.keys_match() {
        // A key that can't tell its public half can't be compared.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Certificate {
            certificate: chain.value,
            key: key.value,
            certified: Arc::new(certified),
            not_after,
        }),
        Err(Error::InconsistentKeys(_)) => {
            let reason = format!("is not the key of the certificate in `{}`", chain.value.display());
            Err(Problem::new(key.place, unusable(&key.value, reason)))
        }
        Err(error) => {
            let reason = format!("holds a certificate that can't be read: {error}");
            Err(Problem::new(chain.place, unusable(&chain.value, reason)))
        }
    }
}

/// The text of a file that has been read already as what it is.
pub(super) fn pem(file: &Placed<impl AsRef<Path>>) -> Result<Secret, Problem> {
    let bytes = file::read(file.value.as_ref()).map_err(|fault| Problem::new(file.place, fault))?;
    Ok(Secret(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Certificates of those who sign others.
pub(super) fn authority(file: &Placed<impl AsRef<Path>>, now: SystemTime) -> Result<Secret, Problem> {
    chain_in(file.value.as_ref(), now).map_err(|fault| Problem::new(file.place, fault))?;
    pem(file)
}

/// The same, added to whom a client of TLS believes.
pub(super) fn add_signers(file: &Placed<PathBuf>, roots: &mut RootCertStore) -> Result<(), Problem> {
    let path = &file.value;
    let add = |roots: &mut RootCertStore| {
        for certificate in certificates_in(path)? {
            roots.add(certificate).map_err(|_| unusable(path, "holds something that is no certificate"))?;
        }
        Ok(())
    };
    add(roots).map_err(|fault| Problem::new(file.place, fault))
}

fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = file::read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, broken_pem(&error)))?;
    match certificates.is_empty() {
        true => Err(unusable(path, "holds no certificate in PEM form")),
        false => Ok(certificates),
    }
}

/// The chain, and when its first certificate ends, in Unix time.
fn chain_in(path: &Path, now: SystemTime) -> Result<(Vec<CertificateDer<'static>>, i64), Fault> {
    let certificates = certificates_in(path)?;
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
    let end = end.unix_seconds();
    Ok((certificates, end))
}

fn key_in(path: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, Fault> {
    let pem = file::read(path)?;
    let key = PrivateKeyDer::pem_slice_iter(&pem).next();
    let encrypted = memchr::memmem::find(&pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some();
    match key {
        Some(Ok(_)) if is_open(path) => Err(unusable(path, OPEN_KEY)),
        Some(Ok(key)) => any_supported_type(&key)
            .map_err(|_| unusable(path, "holds a key that is not RSA, ECDSA (P-256, P-384) or Ed25519")),
        Some(Err(error)) => Err(unusable(path, broken_pem(&error))),
        None if encrypted => Err(unusable(path, "holds a key under a passphrase, which nobody could type")),
        None => Err(unusable(path, "holds no private key in PEM form")),
    }
}

/// Why a key isn't used that [`is_open`].
pub(super) const OPEN_KEY: &str =
    "holds a private key that everybody on this machine can read: `chmod o-r` it";

/// Whether everybody can read a file.
pub(super) fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.mode() & OTHERS_READ != 0)
}

/// The bit of a file's mode that lets everybody read it (inode(7)).
const OTHERS_READ: u32 = 0o004;

/// The library's own words show bytes as lists of numbers.
fn broken_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "is cut: a PEM section has no end",
        pem::Error::IllegalSectionStart { .. } => "is damaged: the first line of a PEM section is unlike any",
        pem::Error::Base64Decode(_) => "is damaged: a PEM section is not base64",
        _ => "is damaged: it is not PEM",
    }
}

pub(super) fn unusable(path: &Path, reason: impl Into<String>) -> Fault {
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

/// Certificates for tests, in a folder of their own that goes with the value.
#[cfg(test)]
pub(super) mod fixture {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    pub(in crate::config) struct Folder {
        pub(in crate::config) path: PathBuf,
    }

    impl Folder {
        /// A new, empty folder.
        pub(in crate::config) fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("perihelion-config-{}-{count}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Folder { path }
        }

        /// Writes `NAME.pem` and `NAME.key`, valid to the end of a year.
        pub(in crate::config) fn pair(&self, name: &str, last_year: i32) {
            let key = KeyPair::generate().unwrap();
            let mut parameters = CertificateParams::new(vec!["localhost".into()]).unwrap();
            parameters.not_after = date_time_ymd(last_year, 12, 31);
            let certificate = parameters.self_signed(&key).unwrap();
            self.write(&format!("{name}.pem"), &certificate.pem());
            self.write(&format!("{name}.key"), &key.serialize_pem());
        }

        /// A file that nobody else can read.
        pub(in crate::config) fn write(&self, name: &str, text: &str) {
            std::fs::write(self.path.join(name), text).unwrap();
            self.allow(name, 0o600);
        }

        pub(in crate::config) fn allow(&self, name: &str, mode: u32) {
            std::fs::set_permissions(self.path.join(name), Permissions::from_mode(mode)).unwrap();
        }

        pub(in crate::config) fn file(&self, name: &str) -> String {
            self.path.join(name).display().to_string()
        }

        pub(in crate::config) fn text(&self, name: &str) -> String {
            std::fs::read_to_string(self.path.join(name)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // A folder that stays behind harms nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::problem::Place;
    use super::fixture::Folder;
    use super::*;

    fn read_in(folder: &Folder, chain: &str, key: &str, now: SystemTime) -> Result<usize, String> {
        let placed = |line, name| Placed { place: Place { line, column: 1 }, value: folder.path.join(name) };
        read(placed(1, chain), placed(2, key), now).map(|read| read.certified.cert.len()).map_err(|problem| {
            let line = problem.place.unwrap().line;
            format!("{line} {problem}").replace(&folder.path.display().to_string(), "")
        })
    }

    #[test]
    fn a_pair_is_taken_only_if_it_can_be_served() {
        let folder = Folder::new();
        for (name, last_year) in [("good", 2060), ("other", 2049), ("old", 2020)] {
            folder.pair(name, last_year);
        }
        let both = folder.text("good.key") + &folder.text("good.pem");
        folder.write("both.pem", &both);
        folder.write("chain.pem", &(folder.text("good.pem") + &folder.text("other.pem")));
        folder.write("text.pem", "hello");
        folder.write("cut.pem", &folder.text("good.pem")[..200]);
        folder.write("noise.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
        folder.write("open.key", &folder.text("good.key"));
        folder.allow("open.key", 0o644);
        folder.write("locked.key", &folder.text("good.key").replace("PRIVATE", "ENCRYPTED PRIVATE"));
        folder.write("noise.key", "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n");
        let expired = "1 `/old.pem` holds a certificate that expired on 2020-12-31";
        let missing = "can't be read: No such file or directory (os error 2)";
        let table = [
            ("good.pem", "good.key", Ok(1)),
            ("other.pem", "other.key", Ok(1)),
            ("both.pem", "both.pem", Ok(1)),
            ("chain.pem", "good.key", Ok(2)),
            ("old.pem", "old.key", Err(expired.to_owned())),
            ("none.pem", "good.key", Err(format!("1 `/none.pem` {missing}"))),
            ("good.pem", "none.key", Err(format!("2 `/none.key` {missing}"))),
            (
                "good.pem",
                "other.key",
                Err("2 `/other.key` is not the key of the certificate in `/good.pem`".into()),
            ),
            ("good.key", "good.pem", Err("1 `/good.key` holds no certificate in PEM form".into())),
            (
                "good.pem",
                "open.key",
                Err("2 `/open.key` holds a private key that everybody on this machine can read: `chmod o-r` it"
                    .into()),
            ),
            ("good.pem", "good.pem", Err("2 `/good.pem` holds no private key in PEM form".into())),
            ("text.pem", "good.key", Err("1 `/text.pem` holds no certificate in PEM form".into())),
            ("cut.pem", "good.key", Err("1 `/cut.pem` is cut: a PEM section has no end".into())),
            ("noise.pem", "good.key", Err("1 `/noise.pem` holds something that is no certificate".into())),
            (
                "good.pem",
                "locked.key",
                Err("2 `/locked.key` holds a key under a passphrase, which nobody could type".into()),
            ),
            (
                "good.pem",
                "noise.key",
                Err("2 `/noise.key` holds a key that is not RSA, ECDSA (P-256, P-384) or Ed25519".into()),
            ),
        ];
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (chain, key, expected) in table {
            let read = read_in(&folder, chain, key, now);
            assert_eq!(read, expected, "{chain} {key}");
        }
    }

    #[test]
    fn a_certificate_ends_with_the_second_that_it_names() {
        let folder = Folder::new();
        folder.pair("good", 2060);
        // 2060-12-31T00:00:00Z, which needs the long form of a date.
        let end = UNIX_EPOCH + Duration::from_secs(2_871_676_800);
        assert_eq!(read_in(&folder, "good.pem", "good.key", end - Duration::from_secs(1)), Ok(1));
        let expired = "1 `/good.pem` holds a certificate that expired on 2060-12-31";
        assert_eq!(read_in(&folder, "good.pem", "good.key", end), Err(expired.into()));
    }

    #[test]
    fn dates_count_seconds_since_1970() {
        let table = [
            (0x17, "700101000000Z", Some(0)),
            (0x17, "991231235959Z", Some(946_684_799)),
            (0x17, "000229120000Z", Some(951_825_600)),
            (0x17, "491231000000Z", Some(2_524_521_600)),
            (0x18, "20500101000000Z", Some(2_524_608_000)),
            (0x18, "21000301000000Z", Some(4_107_542_400)),
            (0x17, "0002291200Z", None),
            (0x17, "001329120000Z", None),
            (0x17, "00022912000é", None),
            (0x02, "000229120000Z", None),
        ];
        for (tag, text, expected) in table {
            assert_eq!(date(tag, text.as_bytes()).map(|date| date.unix_seconds()), expected, "{text}");
        }
        assert_eq!(date(0x17, b"\xff\xfe"), None);
    }

    #[test]
    fn cut_or_lying_lengths_are_no_certificate() {
        let folder = Folder::new();
        folder.pair("good", 2060);
        let der = CertificateDer::from_pem_slice(folder.text("good.pem").as_bytes()).unwrap();
        assert!(validity_end(&der).is_some());
        for length in 0..100 {
            assert_eq!(validity_end(&der[..length]), None, "{length} bytes");
        }
        assert_eq!(validity_end(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x30]), None);
        assert_eq!(validity_end(&[0x30, 0x80, 0x30, 0x80]), None);
    }
}
