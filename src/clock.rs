//! The clock of one client connection: one deadline at a time, one sleeping timer for all of them.
//!
//! The phases of a connection follow one another (idle, head, queue, connect, response, body), so that one
//! deadline is enough, and setting it costs a reading of the clock instead of a timer. Whoever drives the
//! connection polls [`Clock::poll`] after each turn: it arms the timer, and says when a deadline has passed that
//! nobody inside has dealt with. Within a turn it is always the same time, so that the system is asked once for it.
//! Lives on one thread.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, Sleep};

/// A handle to the clock of a connection.
#[derive(Clone, Default)]
pub struct Clock(Rc<Shared>);

#[derive(Default)]
struct Shared {
    deadline: Cell<Option<Instant>>,
    /// When the driver has another turn, whatever happens.
    turn: Cell<Option<Instant>>,
    /// The time of the present turn, once somebody asked for it.
    now: Cell<Option<Instant>>,
    timer: RefCell<Option<Timer>>,
}

struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// Whether it will wake the driver, which stays one task for as long as the connection lives.
    armed: bool,
}

/// How long a reading of the system's date serves: a date that is set anew is seen after that.
const DATE_AGE: Duration = Duration::from_millis(50);

thread_local! {
    /// The last reading of the system's date, and when that was.
    static DATE: Cell<Option<(Instant, SystemTime)>> = const { Cell::new(None) };
}

/// The deadline passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl Clock {
    /// The time of this turn of the connection.
    pub fn now(&self) -> Instant {
        let now = self.0.now.get().unwrap_or_else(Instant::now);
        self.0.now.set(Some(now));
        now
    }

    /// The date and time of day of this turn.
    pub fn date(&self) -> SystemTime {
        let now = self.now();
        if let Some((at, date)) = DATE.get()
            && let since = now.saturating_duration_since(at)
            && since < DATE_AGE
        {
            return date + since;
        }
        let date = SystemTime::now();
        DATE.set(Some((now, date)));
        date
    }

    /// Begins a phase that may last this long; ends the phase before it.
    pub fn start(&self, limit: Duration) {
        self.0.deadline.set(Some(self.now() + limit));
    }

    /// Ends the phase.
    pub fn stop(&self) {
        self.0.deadline.set(None);
    }

    /// Has the driver take another turn after this time, which is over when [`Self::rests`] says so.
    pub fn rest(&self, time: Duration) {
        self.0.turn.set(Some(self.now() + time));
    }

    /// The same of no time.
    pub fn rouse(&self) {
        self.0.turn.set(None);
    }

    /// Whether that is to come.
    pub fn rests(&self) -> bool {
        self.0.turn.get().is_some()
    }

    /// Whether the phase has lasted too long.
    pub fn expired(&self) -> bool {
        self.0.deadline.get().is_some_and(|deadline| self.now() >= deadline)
    }

    /// Makes a phase of a future. Cancel-safe as far as the future is; a phase that was dropped goes on until
    /// the next begins.
    pub async fn limit<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
        self.start(limit);
        let mut future = pin!(future);
        let result = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if self.expired() => Poll::Ready(Err(Elapsed)),
            Poll::Pending => Poll::Pending,
        })
        .await;
        self.stop();
        result
    }

    /// Drives a future that runs on this clock, where no connection does.
    ///
    /// # Errors
    /// A deadline has passed with which nobody inside has dealt.
    pub async fn drive<F: Future>(&self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            loop {
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                ready!(self.poll(cx));
                // Whoever is inside may not have been asked since the deadline passed.
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                if self.expired() {
                    return Poll::Ready(Err(Elapsed));
                }
            }
        })
        .await
    }

    /// For the driver, after each turn of the connection, which ends by it: ready once the deadline has passed, or it has
    /// rested.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.now.set(None);
        let turn = self.0.turn.get();
        let Some(due) = self.0.deadline.get().into_iter().chain(turn).min() else { return Poll::Pending };
        let mut timer = self.0.timer.borrow_mut();
        ready!(timer.get_or_insert_with(|| Timer::until(due)).poll(cx, due));
        if turn == Some(due) {
            self.rouse();
        }
        Poll::Ready(())
    }
}

impl Timer {
    fn until(deadline: Instant) -> Timer {
        Timer { sleep: Box::pin(tokio::time::sleep_until(deadline)), armed: false }
    }

    /// A timer that fires too early is cheaper than one that is moved with each phase.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.sleep.deadline() > deadline {
            self.reset(deadline);
        }
        if self.armed && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.reset(deadline);
        }
        self.armed = true;
        Poll::Pending
    }

    fn reset(&mut self, deadline: Instant) {
        self.sleep.as_mut().reset(deadline);
        self.armed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_later_phase_replaces_the_deadline_of_an_earlier_one() {
        let clock = Clock::default();
        let began = Instant::now();
        clock.start(Duration::from_secs(1));
        let early =
            tokio::time::timeout(Duration::from_millis(500), std::future::poll_fn(|cx| clock.poll(cx)));
        assert!(early.await.is_err());
        clock.start(Duration::from_secs(5));
        std::future::poll_fn(|cx| clock.poll(cx)).await;
        assert_eq!(began.elapsed().as_millis() / 100, 55);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_ends_by_itself_or_when_it_is_ended_and_leaves_the_phase_as_it_is() {
        let clock = Clock::default();
        let began = Instant::now();
        clock.start(Duration::from_secs(5));
        clock.rest(Duration::from_secs(1));
        std::future::poll_fn(|cx| clock.poll(cx)).await;
        assert_eq!((clock.rests(), clock.expired(), began.elapsed().as_secs()), (false, false, 1));
        clock.rest(Duration::from_secs(1));
        clock.rouse();
        std::future::poll_fn(|cx| clock.poll(cx)).await;
        assert_eq!((clock.expired(), began.elapsed().as_secs()), (true, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_future_in_time_ends_its_phase() {
        let clock = Clock::default();
        assert_eq!(clock.limit(Duration::from_secs(1), async { 7 }).await, Ok(7));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!clock.expired());
    }
}
