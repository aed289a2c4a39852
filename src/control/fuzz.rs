//! What publishers and operators may send.

use std::cell::RefCell;

use super::publish::{self, read_batch};
use super::{PublishLimits, channels, revoke};
use crate::fuzz::{kind, sentence};
use crate::jwt::VerifyingKey;

const LIMITS: PublishLimits = PublishLimits { message: 1000, batch: 20, body: 10_000 };

/// A batch in our form or any other, a revocation, a query.
pub(crate) fn requests(input: &[u8]) -> u64 {
    let batch = read_batch(&LIMITS, false, input).map(|(batch, is_grip)| {
        for message in &batch.messages {
            assert!(message.data.bytes().len() <= LIMITS.message);
        }
        (batch.messages.len(), is_grip)
    });
    let batch = batch.map_err(|failure| sentence(failure.error()));
    let revocation = revoke::read(input, LIMITS.message).map(|(whom, parting)| {
        (matches!(whom, super::Whom::Tag(_)), parting.map(|parting| parting.event.is_some()))
    });
    let revocation = revocation.map_err(|failure| sentence(failure.error()));
    let text = std::str::from_utf8(input).unwrap_or_default();
    let query = channels::Query(text);
    let limit = query.limit().map_err(|failure| sentence(failure.error()));
    let token = crate::jwt::verify(input, &VerifyingKey::secret(b"key"), std::time::SystemTime::UNIX_EPOCH);
    assert!(token.is_err(), "nobody has signed that");
    kind((batch, revocation, limit, channels::percent_decode(text).is_some()))
}

/// The same where everything is taken for GRIP.
pub(crate) fn grip_items(input: &[u8]) -> u64 {
    let recent = RefCell::default();
    match read_batch(&LIMITS, true, input) {
        Ok((mut batch, is_grip)) => {
            let noted = publish::leave_out_known(&mut batch, &recent);
            assert!(noted.len() <= LIMITS.batch);
            let has = |message: &crate::message::Message| {
                let forms = message.forms.as_ref();
                (forms.is_some(), message.data.bytes().len(), message.id.is_some())
            };
            kind((is_grip, batch.messages.iter().map(has).collect::<Vec<_>>()))
        }
        Err(failure) => kind(sentence(failure.error())),
    }
}
