//! One request as a future: it waits for room, is made, and waits for its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use zaichik_engine::{Answer, Client as Machine, RequestError, RequestId, Timestamp};

use super::core::Core;
use super::error::ClientError;
use super::room::Ticket;

/// A request; nothing happens before it is polled. Dropping it after it was made changes nothing but that
/// nobody hears the answer.
pub(crate) struct Request<F> {
    core: Arc<Core>,
    ask: F,
    ticket: Option<Ticket>,
    id: Option<RequestId>,
}

impl<F> Request<F>
where
    F: FnMut(&mut Machine, Timestamp) -> Result<RequestId, RequestError> + Unpin,
{
    pub(crate) fn new(core: &Arc<Core>, ask: F) -> Self {
        Self { core: Arc::clone(core), ask, ticket: None, id: None }
    }

    /// Makes the request if there is room for it.
    fn ask(&mut self, cx: &Context<'_>) -> Poll<Result<Answer, ClientError>> {
        let Self { core, ask, ticket, id } = self;
        core.change(|state, now| {
            state.check()?;
            match ask(&mut state.machine, now) {
                Err(RequestError::Full) => {
                    *ticket = Some(state.room.wait(*ticket, cx.waker()));
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error.into())),
                Ok(request) => {
                    *id = Some(request);
                    state.await_reply(request, cx.waker());
                }
            }
            if let Some(ticket) = ticket.take() {
                state.room.found(ticket);
            }
            Poll::Pending
        })
    }
}

impl<F> Future for Request<F>
where
    F: FnMut(&mut Machine, Timestamp) -> Result<RequestId, RequestError> + Unpin,
{
    type Output = Result<Answer, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(id) = self.id else {
            return self.ask(cx);
        };
        let reply = self.core.look(|state, _| state.take_reply(id, cx.waker()));
        match reply {
            None => Poll::Pending,
            Some(reply) => {
                self.id = None;
                Poll::Ready(reply)
            }
        }
    }
}

impl<F> Drop for Request<F> {
    fn drop(&mut self) {
        if self.ticket.is_none() && self.id.is_none() {
            return;
        }
        let Self { core, ticket, id, .. } = self;
        core.look(|state, _| {
            if let Some(ticket) = ticket.take() {
                state.room.leave(ticket);
            }
            if let Some(id) = id.take() {
                state.forget_reply(id);
            }
        });
    }
}
