//! Who the process is: bound as whoever started it, and somebody without rights from then on.
//!
//! Linux keeps rights for each thread, so it is done while there is one only; those that come later inherit them.

use std::io;
use std::os::unix::fs::chown;

use rustix::process::{Gid, Uid, getgid, getuid};
use rustix::thread::{
    capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid, set_thread_uid,
};

use super::StartError;
use crate::config::{Config, Endpoint, UserConfig};

/// Becomes the user of the configuration for good. What the process has bound by then stays its own.
///
/// # Errors
/// It isn't that user now, or could be another one again: nothing may be served like that.
pub(super) fn give_up(config: &Config) -> Result<(), StartError> {
    let Some(user) = &config.user else { return Ok(()) };
    let failed = |reason: io::Error| StartError::User { name: user.name.clone(), reason };
    if let Some(Endpoint::Unix(path)) = config.control.as_ref().map(|control| &control.address)
        && getuid().is_root()
    {
        chown(path, Some(user.uid), Some(user.gid)).map_err(failed)?;
    }
    become_user(user).map_err(failed)?;
    tracing::info!(
        user = user.name,
        uid = user.uid,
        gid = user.gid,
        "runs without the rights that it began with"
    );
    warn_of_what_is_out_of_reach(config);
    Ok(())
}

fn become_user(user: &UserConfig) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if threads()? != 1 {
        return Err(io::Error::other("there are other threads already"));
    }
    let changes = (getuid(), getgid()) != (uid, gid);
    if changes {
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    // Nothing that is executed from here on gets more rights than this process has (prctl(2)).
    set_no_new_privs(true)?;
    if set_thread_uid(Uid::ROOT).is_ok() {
        return Err(io::Error::other("it could become root again"));
    }
    // Those that a supervisor has given this user on purpose stay; those of root have to be gone.
    let held = capabilities(None)?;
    if changes && !(held.effective.is_empty() && held.permitted.is_empty()) {
        return Err(io::Error::other("it kept capabilities"));
    }
    Ok(())
}

fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// What a reload or a renewal would need has to be readable still, which shows best now.
fn warn_of_what_is_out_of_reach(config: &Config) {
    let certificates = config.listen.iter().flat_map(|listener| &listener.tls);
    let own = certificates.flat_map(|certificate| [&certificate.certificate, &certificate.key]);
    let clients = config.listen.iter().filter_map(|listener| listener.clients.as_ref());
    for path in own.chain(clients.flat_map(|clients| &clients.files)) {
        if let Err(error) = std::fs::File::open(path) {
            tracing::warn!(path = %path.display(), %error, "can't be read again by this user: a renewal is not taken");
        }
    }
}
