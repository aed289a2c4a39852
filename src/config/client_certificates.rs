//! `listen[].client_certificates`: whose certificates clients show of themselves, and whether they have to.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;

use super::certificate;
use super::form::{self, Form};
use super::problem::{Place, Placed, Problem};
use super::section::{Key, Section, Value};

/// Clients that show who they are.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// The files of those whose certificates are believed.
    pub files: Vec<PathBuf>,
    /// What was in them.
    pub roots: Arc<RootCertStore>,
    /// Whether a client without a certificate is let in.
    pub mode: CertificateMode,
}

/// Whether clients need a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateMode {
    /// Whoever shows none is let in as well; a bad one isn't.
    Optional,
    /// No handshake succeeds without one.
    #[default]
    Required,
}

impl ClientCertificates {
    /// What the same files hold now.
    ///
    /// # Errors
    /// What is wrong with them, for people.
    pub fn read_again(&self) -> Result<ClientCertificates, String> {
        let place = Place { line: 0, column: 0 };
        let files = self.files.iter().map(|file| Placed { place, value: file.clone() });
        let roots = roots(files).map_err(|problem| problem.to_string())?;
        Ok(ClientCertificates { roots, ..self.clone() })
    }
}

/// What was typed.
#[derive(Default)]
pub(super) struct ClientsDraft {
    place: Option<Place>,
    files: Vec<Placed<PathBuf>>,
    pub(super) mode: CertificateMode,
}

pub(super) static CLIENTS: Section<ClientsDraft> = Section {
    short: Some("off"),
    required: &[("ca", form::FILE.expected)],
    keys: &[
        Key::new("ca", ClientsDraft::add_files),
        Key::new("mode", |draft, value| value.put(&mut draft.mode, &MODE)),
    ],
};

pub(super) static MODE: Form<CertificateMode> = Form {
    expected: "required or optional",
    read: |text| {
        use CertificateMode::*;
        form::choice(text, &[("required", Required), ("optional", Optional)])
    },
};

/// `None` is `off`.
pub(super) fn clients(value: Value<'_>) -> Option<ClientsDraft> {
    if value.is_text() {
        value.read(&form::ONLY_OFF);
        return None;
    }
    let mut draft = ClientsDraft::at(value.node.place);
    CLIENTS.fill(&mut draft, value);
    Some(draft)
}

impl ClientsDraft {
    /// Nothing typed yet at this place.
    pub(super) fn at(place: Place) -> ClientsDraft {
        ClientsDraft { place: Some(place), ..ClientsDraft::default() }
    }

    /// One file or several.
    pub(super) fn add_files(&mut self, value: Value<'_>) {
        value.each_of_some(|item| self.files.extend(item.placed(&form::FILE)));
    }

    /// Where it was typed.
    pub(super) fn place(&self) -> Option<Place> {
        self.place
    }

    /// Reads the files; `None` where a problem was told.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) -> Option<ClientCertificates> {
        if self.files.is_empty() {
            return None;
        }
        let files = self.files.iter().map(|file| file.value.clone()).collect();
        match roots(self.files) {
            Ok(roots) => Some(ClientCertificates { files, roots, mode: self.mode }),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    }
}

fn roots(files: impl IntoIterator<Item = Placed<PathBuf>>) -> Result<Arc<RootCertStore>, Problem> {
    let mut roots = RootCertStore::empty();
    for file in files {
        certificate::add_signers(&file, &mut roots)?;
    }
    Ok(Arc::new(roots))
}
