//! Edits of a head, in their order.

use hyper::header::HeaderMap;

use crate::config::Edit;

/// Makes each edit.
pub fn edit(headers: &mut HeaderMap, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Remove(name) => {
                headers.remove(name);
            }
            Edit::Set(name, value) => {
                headers.insert(name, value.clone());
            }
            Edit::Add(name, value) => {
                headers.append(name, value.clone());
            }
        }
    }
}
