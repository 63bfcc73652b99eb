//! The answers and events that a connection receives.

use std::collections::BTreeSet;

use zaichik_proto::ServerFrame;

use crate::model::decode;
use crate::model::words::{Answer, Event};

/// The answers and events that one connection received.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Answers by request.
    pub(crate) answers: Vec<(u32, Answer)>,
    /// Events of all subscriptions, in order.
    pub(crate) events: Vec<Seen>,
    /// Refused publishes without acknowledgement that were reported.
    pub(crate) refused_silently: u32,
}

/// The events in one frame.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The subscription's number.
    pub(crate) number: u32,
    pub(crate) events: Vec<Event>,
    /// How many frames of all connections came before it.
    pub(crate) order: u64,
}

/// The answers and events that a connection expects.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// Unanswered publishes with acknowledgement: request and count of records.
    pub(crate) publishes: Vec<(u32, u64)>,
    /// Subscriptions that may receive something: from Subscribed until Unsubscribed or Fenced.
    streaming: BTreeSet<u32>,
}

impl Expected {
    /// A request was answered individually, not as part of a run.
    fn answered(&mut self, request: u32) {
        if self.publishes.iter().any(|(other, _)| *other == request) {
            assert_eq!(self.publishes.remove(0).0, request, "answers come in the order of requests");
        }
    }
}

impl Received {
    /// As text, the events of each subscription together: the order of several ones is that of parts of logs.
    pub(crate) fn sorted(&self) -> String {
        let each =
            |seen: &Seen| seen.events.iter().map(|event| (seen.number, event.clone())).collect::<Vec<_>>();
        let mut events: Vec<_> = self.events.iter().flat_map(each).collect();
        events.sort_by_key(|(number, _)| *number);
        format!("{:?} {events:?} {}", self.answers, self.refused_silently)
    }

    pub(crate) fn frame(&mut self, frame: &ServerFrame<'_>, order: u64, expected: &mut Expected) {
        if let Some((request, answer)) = decode::answer(frame) {
            expected.answered(request);
            self.answers.push((request, answer));
        }
        if let Some((number, events)) = decode::events(frame) {
            assert!(expected.streaming.contains(&number), "{frame:?} belongs to a subscription");
            self.events.push(Seen { number, events, order });
        }
        match frame {
            ServerFrame::Acks(acks) => {
                for run in acks.runs.iter() {
                    let mut offset = run.first_offset;
                    for (at, _) in (0..run.requests).enumerate() {
                        let (request, count) = expected.publishes.remove(0);
                        assert!(at > 0 || request == run.request, "the run begins with {request}");
                        let (first, duplicates) = (Some(offset), Vec::new());
                        self.answers.push((request, Answer::Published { created: false, first, duplicates }));
                        offset += count;
                    }
                }
            }
            ServerFrame::Refused(refused) if refused.request == 0 => {
                self.refused_silently += refused.count;
            }
            ServerFrame::Subscribed(one) => {
                assert!(
                    expected.streaming.insert(one.subscription),
                    "{one:?} follows the end of an earlier one"
                );
            }
            ServerFrame::Unsubscribed(one) => {
                assert!(expected.streaming.remove(&one.subscription), "{one:?} follows a beginning");
            }
            ServerFrame::Fenced(one) => {
                assert!(expected.streaming.remove(&one.subscription), "{one:?} follows a beginning");
            }
            ServerFrame::Delivery(delivery) => {
                let len = delivery.records.as_bytes().len();
                assert!(delivery.records.len() == 1 || len <= 64 << 10, "a delivery of {len} bytes");
            }
            ServerFrame::Published(_)
            | ServerFrame::Batched(_)
            | ServerFrame::Refused(_)
            | ServerFrame::TopicReady(_)
            | ServerFrame::Done(_)
            | ServerFrame::Acked(_)
            | ServerFrame::Members(_)
            | ServerFrame::Trimmed(_)
            | ServerFrame::Gap(_) => {}
            ServerFrame::Welcome(_)
            | ServerFrame::Counters(_)
            | ServerFrame::Topics(_)
            | ServerFrame::Subscriptions(_)
            | ServerFrame::PatternSubscribed(_)
            | ServerFrame::Matched(_)
            | ServerFrame::NotMatched(_)
            | ServerFrame::Ping { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Goodbye(_)
            | ServerFrame::Fatal(_)
            | ServerFrame::Extension { .. } => panic!("no request asked for {frame:?}"),
        }
    }
}
