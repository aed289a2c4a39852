//! The outcome of something that the hub may have to wait for its store with.

use tokio::sync::oneshot;

use super::Refused;

/// What came of it, or where that will be said.
#[derive(Debug)]
pub enum Outcome<T> {
    /// There is no store to wait for.
    Settled(Result<T, Refused>),
    /// The store's thread will say.
    Waiting(oneshot::Receiver<Result<T, Refused>>),
}

impl<T> Outcome<T> {
    /// Waits for it. Whoever stops waiting takes nothing back.
    pub async fn wait(self) -> Result<T, Refused> {
        match self {
            Outcome::Settled(result) => result,
            Outcome::Waiting(result) => result.await.unwrap_or(Err(Refused::Ending)),
        }
    }
}
