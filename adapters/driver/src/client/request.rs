//! One request as a future: it waits for room, is made, and waits for its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use zaichik_client::{Answer, Client as Machine, RequestError, RequestId};
use zaichik_proto::Timestamp;

use super::core::Core;
use super::error::ClientError;
use super::room::{Ask, Ticket, Waiter};

/// A request; nothing happens before it is polled. The first poll makes it, or puts it in the line of those that wait
/// for room, so requests are made in the order of their first polls.
///
/// Dropping it while it waits withdraws it; later, that only discards the answer.
pub(crate) struct Request<F> {
    call: Call,
    /// `None` after the first poll.
    ask: Option<F>,
}

/// The progress of a request, whose first poll needs a function that makes it.
pub(crate) struct Call {
    core: Arc<Core>,
    progress: Progress,
}

enum Progress {
    New,
    /// It waits for room.
    InLine(Ticket),
    Made(Reply),
    /// It could not be made.
    Failed,
}

/// What a request does when it is first polled.
pub(crate) enum Turn<'m> {
    /// There is room, and nothing waits for it: make the request.
    Now(&'m mut Machine, Timestamp),
    /// It has to wait: hand it over.
    Later,
}

/// The result of a first poll.
pub(crate) enum Begun {
    Made(RequestId),
    HandedOver(Ask),
}

/// The answer to a request that was made. Dropping it only discards the answer.
pub(crate) struct Reply {
    core: Arc<Core>,
    /// `None` once it was taken.
    id: Option<RequestId>,
}

impl<F> Request<F>
where
    F: FnOnce(&mut Machine, Timestamp) -> Result<RequestId, RequestError> + Send + Unpin + 'static,
{
    pub(crate) fn new(core: &Arc<Core>, ask: F) -> Self {
        Self { call: Call::new(core), ask: Some(ask) }
    }
}

impl<F> Future for Request<F>
where
    F: FnOnce(&mut Machine, Timestamp) -> Result<RequestId, RequestError> + Send + Unpin + 'static,
{
    type Output = Result<Answer, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { call, ask } = &mut *self;
        call.poll(cx, |turn| {
            // The first poll is the only one that begins a request.
            let ask = ask.take().ok_or(RequestError::Closed)?;
            match turn {
                Turn::Now(machine, now) => ask(machine, now).map(Begun::Made),
                Turn::Later => Ok(Begun::HandedOver(Box::new(ask))),
            }
        })
    }
}

impl Call {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), progress: Progress::New }
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Begins the request with the first poll; ready when its answer has arrived.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        begin: impl FnOnce(Turn<'_>) -> Result<Begun, RequestError>,
    ) -> Poll<Result<Answer, ClientError>> {
        let Self { core, progress } = self;
        let (next, result) = match progress {
            Progress::Made(reply) => return reply.poll_answer(cx),
            Progress::Failed => return Poll::Ready(Err(ClientError::Abandoned)),
            Progress::InLine(ticket) => {
                let turn = core.quietly(|state, _| state.take_turn(*ticket, cx.waker()));
                match turn {
                    None => return Poll::Pending,
                    Some(Ok(id)) => {
                        let mut reply = Reply { core: Arc::clone(core), id: Some(id) };
                        let answer = reply.poll_answer(cx);
                        (Progress::Made(reply), answer)
                    }
                    Some(Err(error)) => (Progress::Failed, Poll::Ready(Err(error))),
                }
            }
            Progress::New => {
                let made = core.update(|state, now| {
                    state.check()?;
                    let turn = if state.is_free() { Turn::Now(&mut state.machine, now) } else { Turn::Later };
                    Ok::<_, ClientError>(match begin(turn)? {
                        Begun::Made(request) => {
                            state.replies().await_reply(request, Some(cx.waker()));
                            Progress::Made(Reply { core: Arc::clone(core), id: Some(request) })
                        }
                        Begun::HandedOver(ask) => {
                            let waker = cx.waker().clone();
                            Progress::InLine(state.line_up(ask, Waiter::Future(Some(waker))))
                        }
                    })
                });
                match made {
                    Ok(progress) => (progress, Poll::Pending),
                    Err(error) => (Progress::Failed, Poll::Ready(Err(error))),
                }
            }
        };
        *progress = next;
        result
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Progress::InLine(ticket) = self.progress {
            self.core.quietly(|state, _| state.leave_line(ticket));
        }
    }
}

impl Reply {
    /// Makes a request at once; fails with [`RequestError::Full`] if it would have to wait, or others do.
    pub(crate) fn now(
        core: &Arc<Core>,
        ask: impl FnOnce(&mut Machine, Timestamp) -> Result<RequestId, RequestError>,
    ) -> Result<Self, ClientError> {
        let id = core.update(|state, now| {
            state.check()?;
            state.check_line()?;
            let id = ask(&mut state.machine, now)?;
            state.replies().await_reply(id, None);
            Ok::<_, ClientError>(id)
        })?;
        Ok(Self { core: Arc::clone(core), id: Some(id) })
    }

    fn poll_answer(&mut self, cx: &Context<'_>) -> Poll<Result<Answer, ClientError>> {
        let Some(id) = self.id else {
            // It was taken by an earlier poll.
            return Poll::Ready(Err(ClientError::Abandoned));
        };
        let reply = self.core.quietly(|state, _| state.take_reply(id, cx.waker()));
        reply.map_or(Poll::Pending, |reply| {
            self.id = None;
            Poll::Ready(reply)
        })
    }
}

impl Future for Reply {
    type Output = Result<Answer, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.core.quietly(|state, _| state.replies().forget(id));
        }
    }
}
