//! Real clients in the world: they connect, break and reconnect over the same pipes as raw peers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Buf;
use zaichik_client::{Answer, Client, ClientConfig, Event, Link, RequestError, RequestId, SubscriptionId};
use zaichik_engine::{Seed, Timestamp};
use zaichik_testkit::show;

use super::World;
use super::pipe::{Flow, Pipe};

/// A client and its connection, if it has one.
pub(super) struct Remote {
    client: Client,
    pipe: Option<Rc<RefCell<Pipe>>>,
    answers: BTreeMap<RequestId, Result<Answer, RequestError>>,
    /// Whether connections can be made.
    is_reachable: bool,
    /// Bytes that the next connection carries to the broker, and back, before it breaks.
    breaks_after: Option<(usize, usize)>,
    /// Bytes to the broker after which nothing more is sent, although the connection is up.
    holds_after: Option<usize>,
    bytes_sent: u64,
    connects: usize,
}

/// Names a client of the world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemoteId(usize);

impl World {
    pub(crate) fn client(&mut self) -> RemoteId {
        self.client_with(|_| {})
    }

    pub(crate) fn client_with(&mut self, change: impl FnOnce(&mut ClientConfig)) -> RemoteId {
        let mut config = ClientConfig::new(1);
        change(&mut config);
        self.remotes.push(Remote {
            client: Client::new(config),
            pipe: None,
            answers: BTreeMap::new(),
            is_reachable: true,
            breaks_after: None,
            holds_after: None,
            bytes_sent: 0,
            connects: 0,
        });
        RemoteId(self.remotes.len() - 1)
    }

    /// Calls the client, with the time.
    pub(crate) fn call<T>(&mut self, id: RemoteId, call: impl FnOnce(&mut Client, Timestamp) -> T) -> T {
        call(&mut self.remotes[id.0].client, self.connections.now)
    }

    /// The answer to a request once the world has settled.
    pub(crate) fn answer(
        &mut self,
        id: RemoteId,
        request: RequestId,
    ) -> Option<Result<Answer, RequestError>> {
        self.settle();
        self.answer_so_far(id, request)
    }

    /// The answer to a request, if it has arrived.
    pub(crate) fn answer_so_far(
        &mut self,
        id: RemoteId,
        request: RequestId,
    ) -> Option<Result<Answer, RequestError>> {
        self.remotes[id.0].answers.remove(&request)
    }

    /// Makes a request and waits for its answer.
    pub(crate) fn done(
        &mut self,
        id: RemoteId,
        call: impl FnOnce(&mut Client, Timestamp) -> Result<RequestId, RequestError>,
    ) -> Result<Answer, RequestError> {
        let request = self.call(id, call)?;
        self.answer(id, request).expect("an answer")
    }

    /// The events of a subscription as short texts.
    pub(crate) fn take(&mut self, id: RemoteId, subscription: SubscriptionId) -> Vec<String> {
        self.settle();
        let client = &mut self.remotes[id.0].client;
        std::iter::from_fn(|| client.poll_event(subscription)).map(|incoming| told(&incoming)).collect()
    }

    pub(crate) fn link(&self, id: RemoteId) -> Link {
        self.remotes[id.0].client.link()
    }

    /// Bytes that the client has sent in total.
    pub(crate) fn bytes_sent(&self, id: RemoteId) -> u64 {
        self.remotes[id.0].bytes_sent
    }

    /// Whether everything that the client had to send is on its way, unread by the broker.
    pub(crate) fn has_left(&mut self, id: RemoteId) -> bool {
        let remote = &mut self.remotes[id.0];
        let is_empty = !remote.client.outbound().has_remaining();
        is_empty && remote.pipe.as_ref().is_some_and(|pipe| !pipe.borrow().to_broker.is_empty())
    }

    /// How often it was connected.
    pub(crate) fn connects(&self, id: RemoteId) -> usize {
        self.remotes[id.0].connects
    }

    /// Breaks the client's connection, if it has one, and sets whether it can reconnect.
    pub(crate) fn break_link(&mut self, id: RemoteId, is_reachable: bool) {
        let remote = &mut self.remotes[id.0];
        remote.is_reachable = is_reachable;
        if let Some(pipe) = &remote.pipe {
            pipe.borrow_mut().flow = Flow::Cut;
        }
    }

    /// The connection breaks after this many more bytes.
    pub(crate) fn break_after(&mut self, id: RemoteId, to_broker: usize, from_broker: usize) {
        self.remotes[id.0].breaks_after = Some((to_broker, from_broker));
    }

    /// After this many more bytes nothing reaches the broker.
    pub(crate) fn hold_after(&mut self, id: RemoteId, to_broker: usize) {
        self.remotes[id.0].holds_after = Some(to_broker);
    }

    /// Sends the bytes that were held back.
    pub(crate) fn release(&mut self, id: RemoteId) {
        self.remotes[id.0].holds_after = None;
    }

    /// Replaces the broker with a new, empty instance.
    pub(crate) fn restart(&mut self, instance: u128) {
        for end in &self.ends {
            let mut pipe = end.pipe.borrow_mut();
            pipe.is_closed = true;
            pipe.from_broker.clear();
        }
        let config = self.broker.config().clone();
        self.connections.restart(config, Seed::new(instance, super::HASH_KEY));
    }

    pub(super) fn remote_timeouts(&self) -> impl Iterator<Item = Timestamp> {
        self.remotes.iter().flat_map(|remote| {
            let connect = match remote.client.link() {
                Link::Connect { at } => Some(at),
                Link::Handshake | Link::Open | Link::Closing | Link::Closed(_) => None,
            };
            remote.client.next_timeout().into_iter().chain(connect)
        })
    }

    pub(super) fn step_remote(&mut self, index: usize) -> bool {
        let now = self.now;
        if let Link::Connect { at } = self.remotes[index].client.link()
            && at <= now
        {
            if self.remotes[index].is_reachable {
                let pipe = self.open();
                let remote = &mut self.remotes[index];
                remote.pipe = Some(pipe);
                remote.connects += 1;
                remote.client.handle_connected(now);
            } else {
                self.remotes[index].client.handle_disconnected(now);
            }
            return true;
        }
        let remote = &mut self.remotes[index];
        let mut moved = false;
        if remote.client.next_timeout().is_some_and(|at| at <= now) {
            remote.client.handle_timeout(now);
            moved = true;
        }
        moved |= remote.carry(now);
        while let Some((request, result)) = remote.client.poll_answer() {
            remote.answers.insert(request, result);
            moved = true;
        }
        moved
    }
}

impl Remote {
    /// Moves bytes in both directions.
    fn carry(&mut self, now: Timestamp) -> bool {
        let Some(shared) = self.pipe.clone() else {
            return false;
        };
        let mut pipe = shared.borrow_mut();
        if matches!(self.client.link(), Link::Connect { .. } | Link::Closed(_)) {
            pipe.flow = Flow::Cut;
            self.pipe = None;
            return true;
        }
        let mut moved = false;
        let outbound = self.client.outbound();
        let room = self.breaks_after.map_or(usize::MAX, |(to_broker, _)| to_broker);
        let count = outbound.remaining().min(room).min(self.holds_after.unwrap_or(usize::MAX));
        if let Some(left) = &mut self.holds_after {
            *left -= count;
        }
        if count > 0 {
            pipe.to_broker.extend_from_slice(&outbound.copy_to_bytes(count));
            self.bytes_sent += count as u64;
            moved = true;
        }
        let room = self.breaks_after.map_or(usize::MAX, |(_, from_broker)| from_broker);
        let back = pipe.from_broker.len().min(room);
        if back > 0 && self.client.wants_read() {
            self.client.inbound().extend_from_slice(&pipe.from_broker.split_to(back));
            self.client.handle_read(now);
            moved = true;
        }
        if let Some((to_broker, from_broker)) = &mut self.breaks_after {
            *to_broker -= count;
            *from_broker -= back;
            if (*to_broker == 0 && pipe.to_broker.is_empty()) || *from_broker == 0 {
                pipe.flow = Flow::Cut;
            }
        }
        if pipe.is_closed && (pipe.flow == Flow::Cut || pipe.from_broker.is_empty()) {
            self.breaks_after = None;
            self.pipe = None;
            self.client.handle_disconnected(now);
            moved = true;
        }
        moved
    }
}

fn told(incoming: &Event) -> String {
    match incoming {
        Event::Message(message) => show::message(message.offset, &message.body),
        Event::Gap { from, to, reason } => show::gap(*from, *to, *reason),
        Event::Reconnected { from, start } => format!("reconnected {from} {start}"),
        Event::Restarted { start } => format!("restarted {start}"),
        Event::Refused(_) | Event::Fenced | Event::Ended(_) | _ => format!("{incoming:?}"),
    }
}
