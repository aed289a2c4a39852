//! A pool against a scripted server.
