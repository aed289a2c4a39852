//! An exchange between a real client and a scripted application.
