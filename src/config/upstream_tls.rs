//! `pools.NAME.tls`: how a pool speaks TLS to its `https` servers, and whom it believes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::ServerName;

use super::problem::{Fault, Place, Placed, Problem};
use super::section::{Key, Section, Value};
use super::{Certificate, certificate, form};

/// How `https` servers of a pool are spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Whose certificates are believed.
    pub roots: Roots,
    /// The name that a certificate has to be for, sent as SNI as well; `None`: the host of the server.
    pub name: Option<ServerName<'static>>,
    /// What the proxy shows of itself where a server asks for it.
    pub identity: Option<Certificate>,
}

impl UpstreamTls {
    /// For a program that is told by its arguments. Without a `ca` the system says who is believed; without a `key` the
    /// file of the `certificate` holds both.
    ///
    /// # Errors
    /// What is wrong with a file, for people.
    pub fn of_files(
        ca: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<UpstreamTls, String> {
        let nowhere = Place { line: 0, column: 0 };
        let placed = |path: &Path| Placed { place: nowhere, value: path.to_owned() };
        let trusted = |path: &Path| {
            let mut roots = RootCertStore::empty();
            certificate::add_signers(&placed(path), &mut roots).map(|()| Roots::These(Arc::new(roots)))
        };
        let own =
            |chain: &Path| certificate::read(placed(chain), placed(key.unwrap_or(chain)), SystemTime::now());
        let read = || {
            let roots = ca.map(trusted).transpose()?.unwrap_or_default();
            Ok(UpstreamTls { roots, name: None, identity: certificate.map(own).transpose()? })
        };
        read().map_err(|problem: Problem| problem.to_string())
    }
}

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// Whom the system trusts.
    #[default]
    System,
    /// These alone.
    These(Arc<RootCertStore>),
    /// Everybody's: the connection is encrypted, and with whom is unknown.
    Anybody,
}

impl PartialEq for Roots {
    fn eq(&self, other: &Roots) -> bool {
        match (self, other) {
            (Roots::System, Roots::System) | (Roots::Anybody, Roots::Anybody) => true,
            (Roots::These(these), Roots::These(those)) => these.roots == those.roots,
            _ => false,
        }
    }
}

impl Eq for Roots {}

/// What was typed of a client's certificate.
#[derive(Default)]
struct Draft {
    tls: UpstreamTls,
    certificate: Option<Placed<PathBuf>>,
    key: Option<Placed<PathBuf>>,
}

/// `pools.NAME.tls`.
static KEYS: Section<Draft> = Section {
    short: None,
    required: &[],
    keys: &[
        Key::new("ca", authorities),
        Key::new("name", |draft, value| draft.tls.name = value.read(&form::TLS_NAME)),
        Key::new("verify", |draft, value| {
            if value.read(&form::SWITCH) == Some(false) {
                draft.tls.roots = Roots::Anybody;
            }
        }),
        Key::new("certificate", |draft, value| draft.certificate = value.placed(&form::FILE)),
        Key::new("key", |draft, value| draft.key = value.placed(&form::FILE)),
    ],
};

/// The section as the list of all keys wants it.
pub(super) static SECTION: &(dyn super::section::Keyed + Sync) = &KEYS;

/// Reads the section, and the files that it names.
pub(super) fn read(value: Value<'_>) -> UpstreamTls {
    let mut draft = Draft::default();
    KEYS.fill(&mut draft, Value { problems: &mut *value.problems, ..value });
    let Some(chain) = draft.certificate else {
        if let Some(key) = draft.key {
            let problem = Problem::new(key.place, Fault::MissingKey("certificate"));
            value.problems.push(problem.expected(form::FILE.expected));
        }
        return draft.tls;
    };
    let key = draft.key.unwrap_or_else(|| chain.clone());
    match certificate::read(chain, key, SystemTime::now()) {
        Ok(identity) => draft.tls.identity = Some(identity),
        Err(problem) => value.problems.push(problem),
    }
    draft.tls
}

/// `verify: off` wins wherever it stands: it is dangerous, and was typed.
fn authorities(draft: &mut Draft, value: Value<'_>) {
    let roots = signers(value);
    if !matches!(draft.tls.roots, Roots::Anybody) {
        draft.tls.roots = roots;
    }
}

/// One file or several with certificates in PEM form.
pub(super) fn signers(value: Value<'_>) -> Roots {
    let mut roots = RootCertStore::empty();
    value.each_of_some(|item| {
        let problems = item.problems;
        let file = Value { problems: &mut *problems, key: item.key, node: item.node }.placed(&form::FILE);
        if let Some(file) = file
            && let Err(problem) = certificate::add_signers(&file, &mut roots)
        {
            problems.push(problem);
        }
    });
    Roots::These(Arc::new(roots))
}
