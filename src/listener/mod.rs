//! Where clients arrive: what they may send before anything else in the process sees it.

mod authority;
mod chunks;
#[cfg(test)]
mod head_cases;
pub mod head_gate;
#[cfg(test)]
mod head_properties;
mod head_scan;
mod request_head;
mod request_line;
