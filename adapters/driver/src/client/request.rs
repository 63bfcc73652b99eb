//! One request as a future: it waits for room, is made, and waits for its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use zaichik_client::{Answer, Client as Machine, RequestError, RequestId};
use zaichik_proto::Timestamp;

use super::core::Core;
use super::error::ClientError;
use super::room::Ticket;

/// A request; nothing happens before it is polled. Dropping it after it was made only discards the answer.
pub(crate) struct Request<F> {
    call: Call,
    ask: F,
}

/// The progress of a request; the caller passes the function that makes the request to each poll. Dropping it after the
/// request was made only discards the answer.
pub(crate) struct Call {
    core: Arc<Core>,
    ticket: Option<Ticket>,
    reply: Option<Reply>,
}

/// The answer to a request that was made. Dropping it only discards the answer.
pub(crate) struct Reply {
    core: Arc<Core>,
    /// `None` once it was taken.
    id: Option<RequestId>,
}

impl<F> Request<F>
where
    F: FnMut(&mut Machine, Timestamp) -> Result<RequestId, RequestError> + Unpin,
{
    pub(crate) fn new(core: &Arc<Core>, ask: F) -> Self {
        Self { call: Call::new(core), ask }
    }
}

impl<F> Future for Request<F>
where
    F: FnMut(&mut Machine, Timestamp) -> Result<RequestId, RequestError> + Unpin,
{
    type Output = Result<Answer, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { call, ask } = &mut *self;
        call.poll(cx, ask)
    }
}

impl Call {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), ticket: None, reply: None }
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Makes the request with `ask` as soon as there is room for it; ready when its answer has arrived.
    pub(crate) fn poll(
        &mut self,
        cx: &Context<'_>,
        ask: impl FnOnce(&mut Machine, Timestamp) -> Result<RequestId, RequestError>,
    ) -> Poll<Result<Answer, ClientError>> {
        let Self { core, ticket, reply } = self;
        if let Some(reply) = reply {
            return reply.poll_answer(cx);
        }
        let made = core.change(|state, now| {
            state.check()?;
            match ask(&mut state.machine, now) {
                Err(RequestError::Full) => {
                    *ticket = Some(state.room.wait(*ticket, cx.waker()));
                    Ok(None)
                }
                Err(error) => Err(ClientError::from(error)),
                Ok(request) => {
                    if let Some(ticket) = ticket.take() {
                        state.room.found(ticket);
                    }
                    state.replies().await_reply(request, Some(cx.waker()));
                    Ok(Some(request))
                }
            }
        });
        match made {
            Ok(made) => {
                *reply = made.map(|id| Reply { core: Arc::clone(core), id: Some(id) });
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.core.look(|state, _| state.room.leave(ticket));
        }
    }
}

impl Reply {
    /// Makes a request at once, even if others wait for room.
    pub(crate) fn now(
        core: &Arc<Core>,
        ask: impl FnOnce(&mut Machine, Timestamp) -> Result<RequestId, RequestError>,
    ) -> Result<Self, ClientError> {
        let id = core.change(|state, now| {
            state.check()?;
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
        let reply = self.core.look(|state, _| state.take_reply(id, cx.waker()));
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
            self.core.look(|state, _| state.replies().forget(id));
        }
    }
}
