//! Where the answers to requests go: to a future, to a publisher's count, or to the end of a subscription.

use std::collections::HashMap;
use std::task::Waker;

use zaichik_client::{Answer, RequestError, RequestId, SubscriptionId};

use super::error::ClientError;
use super::wakes::{Wakes, in_order, keep};

/// The requests in flight whose answer is needed, and the publishers of the client.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    by_request: HashMap<RequestId, Reply>,
    publishers: HashMap<PublisherId, InFlight>,
    next_publisher: u64,
}

/// Where the answer to a request goes.
#[derive(Debug)]
enum Reply {
    /// To a future that waits for it.
    Awaited(Option<Waker>),
    /// It has arrived.
    Arrived(Result<Answer, RequestError>),
    /// To a publisher's count.
    Counted(PublisherId),
    /// Nowhere: it says that a dropped subscription receives nothing more.
    Left(SubscriptionId),
}

/// A publisher of this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PublisherId(u64);

/// A publisher's requests in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    pub(crate) requests: usize,
    pub(crate) error: Option<ClientError>,
    pub(crate) waker: Option<Waker>,
}

/// The result of taking a reply.
pub(super) enum Taken {
    NotYet,
    Answer(Result<Answer, RequestError>),
    /// The client is abandoned: there will be no answer.
    Never,
}

impl Replies {
    /// A future waits for this answer, or will.
    pub(crate) fn await_reply(&mut self, id: RequestId, waker: Option<&Waker>) {
        self.by_request.insert(id, Reply::Awaited(waker.cloned()));
    }

    pub(super) fn take(&mut self, id: RequestId, waker: &Waker, is_abandoned: bool) -> Taken {
        match self.by_request.get_mut(&id) {
            Some(Reply::Awaited(kept)) if !is_abandoned => {
                keep(kept, waker);
                return Taken::NotYet;
            }
            Some(Reply::Counted(_) | Reply::Left(_)) => return Taken::NotYet,
            Some(Reply::Arrived(_) | Reply::Awaited(_)) | None => {}
        }
        match self.by_request.remove(&id) {
            Some(Reply::Arrived(answer)) => Taken::Answer(answer),
            _ => Taken::Never,
        }
    }

    /// The future that waited for this answer was dropped.
    pub(crate) fn forget(&mut self, id: RequestId) {
        self.by_request.remove(&id);
    }

    pub(crate) fn add_publisher(&mut self) -> PublisherId {
        self.next_publisher = self.next_publisher.wrapping_add(1);
        let id = PublisherId(self.next_publisher);
        self.publishers.insert(id, InFlight::default());
        id
    }

    pub(crate) fn publisher(&mut self, id: PublisherId) -> &mut InFlight {
        self.publishers.entry(id).or_default()
    }

    pub(crate) fn remove_publisher(&mut self, id: PublisherId) {
        self.publishers.remove(&id);
    }

    /// The answer to this request goes to a publisher.
    pub(crate) fn count(&mut self, id: RequestId, publisher: PublisherId) {
        self.by_request.insert(id, Reply::Counted(publisher));
        let in_flight = self.publisher(publisher);
        in_flight.requests = in_flight.requests.saturating_add(1);
    }

    /// The answer to this request says that a dropped subscription receives nothing more.
    pub(super) fn expect_leave(&mut self, id: RequestId, subscription: SubscriptionId) {
        self.by_request.insert(id, Reply::Left(subscription));
    }

    /// Hands an answer to its receiver; returns the dropped subscription that has ended with it, if any.
    pub(super) fn dispatch(
        &mut self,
        id: RequestId,
        answer: Result<Answer, RequestError>,
        wakes: &mut Wakes,
    ) -> Option<SubscriptionId> {
        match self.by_request.get_mut(&id) {
            None | Some(Reply::Arrived(_)) => None,
            Some(reply @ Reply::Awaited(_)) => {
                if let Reply::Awaited(waker) = std::mem::replace(reply, Reply::Arrived(answer)) {
                    wakes.extend(waker);
                }
                None
            }
            Some(Reply::Left(subscription)) => {
                let subscription = *subscription;
                self.by_request.remove(&id);
                Some(subscription)
            }
            Some(Reply::Counted(publisher)) => {
                let publisher = *publisher;
                self.by_request.remove(&id);
                if let Some(in_flight) = self.publishers.get_mut(&publisher) {
                    in_flight.requests = in_flight.requests.saturating_sub(1);
                    if let Err(error) = answer {
                        in_flight.error.get_or_insert_with(|| error.into());
                    }
                    wakes.extend(in_flight.waker.take());
                }
                None
            }
        }
    }

    /// The client has ended: everything that waits has to check again.
    pub(super) fn wake_all(&mut self, wakes: &mut Wakes) {
        for reply in in_order(&mut self.by_request) {
            if let Reply::Awaited(waker) = reply {
                wakes.extend(waker.take());
            }
        }
        for in_flight in in_order(&mut self.publishers) {
            wakes.extend(in_flight.waker.take());
        }
    }

    /// Whether a future waits for an answer.
    pub(super) fn are_awaited(&self) -> bool {
        !self.by_request.is_empty()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_request.is_empty() && self.publishers.is_empty()
    }
}
