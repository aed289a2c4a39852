//! `control.client_certificates`: who may use the control port because of a certificate, and for what.

use super::client_certificates::{ClientsDraft, MODE};
use super::control::ROLE;
use super::form;
use super::problem::{Fault, Place, Placed, Problem};
use super::section::{Key, Section, Value};
use super::subject::{SUBJECT, Subject};
use super::{ClientCertificates, Role};

/// What a certificate is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectConfig {
    /// Whose it is.
    pub subject: Subject,
    /// At least one.
    pub roles: Vec<Role>,
}

/// What was typed.
#[derive(Default)]
pub(super) struct ControlClientsDraft {
    clients: ClientsDraft,
    subjects: Vec<SubjectDraft>,
}

#[derive(Default)]
struct SubjectDraft {
    subject: Option<Placed<Subject>>,
    roles: Vec<Role>,
}

pub(super) static CONTROL_CLIENTS: Section<ControlClientsDraft> = Section {
    short: Some("off"),
    required: &[("ca", form::FILE.expected), ("subjects", "a list of mappings with `subject` and `roles`")],
    keys: &[
        Key::new("ca", |draft, value| draft.clients.add_files(value)),
        Key::new("mode", |draft, value| value.put(&mut draft.clients.mode, &MODE)),
        Key::section("subjects", "[].", &ONE, |draft, value| {
            value.each_of_some(|item| {
                let mut one = SubjectDraft::default();
                ONE.fill(&mut one, item);
                draft.subjects.push(one);
            });
        }),
    ],
};

static ONE: Section<SubjectDraft> = Section {
    short: None,
    required: &[("subject", SUBJECT.expected), ("roles", ROLE.expected)],
    keys: &[
        Key::new("subject", |draft, value| draft.subject = value.placed(&SUBJECT)),
        Key::new("roles", |draft, value| value.each_of_some(|item| draft.roles.extend(item.read(&ROLE)))),
    ],
};

/// `None` is `off`.
pub(super) fn control_clients(value: Value<'_>) -> Option<ControlClientsDraft> {
    if value.is_text() {
        value.read(&form::ONLY_OFF);
        return None;
    }
    let clients = ClientsDraft::at(value.node.place);
    let mut draft = ControlClientsDraft { clients, ..ControlClientsDraft::default() };
    CONTROL_CLIENTS.fill(&mut draft, value);
    Some(draft)
}

impl ControlClientsDraft {
    /// Where it was typed.
    pub(super) fn place(&self) -> Option<Place> {
        self.clients.place()
    }

    /// Reads the files; each subject is another one.
    pub(super) fn finish(
        self,
        problems: &mut Vec<Problem>,
    ) -> Option<(ClientCertificates, Vec<SubjectConfig>)> {
        let mut subjects: Vec<SubjectConfig> = Vec::new();
        let mut lines = Vec::new();
        for SubjectDraft { subject, roles } in self.subjects {
            let Some(Placed { place, value: subject }) = subject else { continue };
            if let Some(first) = subjects.iter().position(|one| one.subject == subject) {
                let value = subject.as_str().to_owned();
                let fault = Fault::Repeated { what: "subject", value, first: lines[first] };
                problems.push(Problem::new(place, fault).expected("another subject"));
            }
            subjects.push(SubjectConfig { subject, roles });
            lines.push(place.line);
        }
        self.clients.finish(problems).map(|clients| (clients, subjects))
    }
}
