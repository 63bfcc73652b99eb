//! A handle to the receipt of messages that were published without waiting.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use zaichik_client::{Answer, PublishReceipt};

use super::error::ClientError;
use super::mismatch;
use super::request::Reply;

/// A receipt that has not arrived yet; await it to learn the outcome. Returned by [`Publish::enqueue`](super::Publish::enqueue).
///
/// The messages are published whether this is awaited or dropped, unless the program ends before they are: see
/// [`Client::close`](super::Client::close). The client's `max_in_flight` bounds the number of
/// pending answers.
#[must_use = "a refused or lost message is reported only here"]
pub struct PendingReceipt(Reply);

impl PendingReceipt {
    pub(super) const fn new(reply: Reply) -> Self {
        Self(reply)
    }
}

impl Future for PendingReceipt {
    type Output = Result<PublishReceipt, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(cx))?;
        let Answer::Published(receipt) = answer else {
            return Poll::Ready(Err(mismatch(&answer)));
        };
        Poll::Ready(Ok(receipt))
    }
}

impl fmt::Debug for PendingReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingReceipt").finish_non_exhaustive()
    }
}
