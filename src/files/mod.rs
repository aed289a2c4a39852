//! Files below a folder: found without a way out of it, and read without a disk being waited for on a worker's thread.
//!
//! A [`Folder`] is looked into by [`Folder::find`]; what is found is open, regular, and read by a [`Reading`]. What a
//! request wants of it (all, a part, nothing since it is not modified) is decided by [`conditions`], in the order of
//! RFC 9110 §13.2.2.
//!
//! A folder is opened anew for each request, so that a deployment may swap the link that leads to it. What lies in
//! the kernel's caches is opened and read at once; everything else is left to threads that may wait.
//!
//! There are no listings, and no files whose name begins with a dot, except below `.well-known` (RFC 8615).

mod coding;
mod conditions;
mod folder;
mod head;
mod name;
mod open;
mod ranges;
mod reading;

pub use conditions::{Outcome, Validators, any_range, range, unmet};
pub use folder::{Folder, Found, Opened};
pub use head::{file_headers, validators};
pub use name::Name;
pub use ranges::{Part, Ranged};
pub use reading::Reading;
