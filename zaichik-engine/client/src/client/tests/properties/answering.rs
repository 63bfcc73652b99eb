//! What the broker answers.

use zaichik_proto::{RefusalCode, Start, Version};

use super::World;
use super::broker::{Applied, Cursor, Stored};
use crate::client::tests::sent::{Sent, Target};

impl World {
    pub(super) fn answer_client(&mut self, refuse: bool) {
        let Some(sent) = self.broker.unanswered.pop_front() else {
            return;
        };
        let request = sent.request();
        match sent {
            Sent::Publish { .. } | Sent::Batch { .. } => self.answer_publish(&sent, refuse),
            Sent::CreateTopic { .. } => self.peer.refuse(request, RefusalCode::SettingsDiffer, 1),
            Sent::Subscribe { .. } if refuse => self.peer.refuse(request, RefusalCode::TopicsFull, 1),
            Sent::Subscribe { .. } => self.attach(&sent),
            Sent::Unsubscribe { subscription, .. } => {
                let place = self.broker.active.iter().position(|cursor| cursor.number == subscription);
                if let Some(place) = place {
                    let cursor = self.broker.active.remove(place);
                    self.broker.durables.extend(cursor.name.clone().map(|name| (name, cursor)));
                    self.peer.unsubscribed(&sent, None);
                } else {
                    self.peer.refuse(request, RefusalCode::NotSubscribed, 0);
                }
            }
            Sent::Commit { .. } | Sent::Nack { .. } | Sent::Seek { .. } => self.move_cursor(&sent),
            other => panic!("{other:?}"),
        }
    }

    /// Answers a Publish or Batch, or repeats the answer to the first request with its sequence number.
    fn answer_publish(&mut self, sent: &Sent, refuse: bool) {
        let request = sent.request();
        let Applied { stored, value, is_repeated } = self.broker.apply(sent, refuse);
        let is_batch = matches!(sent, Sent::Batch { .. });
        self.peer.repeats = is_repeated;
        match stored {
            Stored::Published if !is_batch && !is_repeated => self.peer.ack(&[(request, 1, 7)]),
            Stored::Published if !is_batch || self.peer.version > Version::One => {
                self.peer.published(request, Some(7), &[]);
            }
            Stored::Batched { publishes } if is_batch => {
                let results: Vec<_> = (0..publishes).map(|operation| (operation, 7)).collect();
                self.peer.batched(request, &results, &[]);
            }
            Stored::Published | Stored::Batched { .. } => {
                self.peer.repeats = false;
                self.peer.refuse(request, RefusalCode::SequenceTooOld, 0);
            }
            Stored::Refused(code) => self.peer.refuse(request, code, value),
        }
        self.peer.repeats = false;
    }

    fn attach(&mut self, sent: &Sent) {
        let Sent::Subscribe { subscription, window, start, durable, .. } = sent else {
            panic!("{sent:?}");
        };
        let start = if let Start::Offset(offset) = start { *offset } else { 0 };
        let known = durable.as_ref().and_then(|durable| self.broker.durables.remove(&durable.name));
        let mut cursor = Cursor {
            number: *subscription,
            window: *window,
            next: start,
            done_to: start,
            ..Cursor::default()
        };
        if let Some(durable) = durable {
            cursor.name = Some(durable.name.clone());
            cursor.epoch = durable.epoch + 1;
            if let Some(known) = known {
                assert_eq!(durable.epoch, known.epoch, "last attached under another epoch");
                (cursor.next, cursor.done_to) = (known.done_to, known.done_to);
                cursor.rewind = known.rewind + 1;
            }
        }
        let Cursor { next, epoch, rewind, .. } = cursor;
        self.broker.active.push(cursor);
        self.peer.attached(sent, next, epoch, rewind);
    }

    fn move_cursor(&mut self, sent: &Sent) {
        let request = sent.request();
        let (Sent::Commit { subscription, .. }
        | Sent::Nack { subscription, .. }
        | Sent::Seek { target: Target::Number(subscription), .. }) = sent
        else {
            panic!("{sent:?}");
        };
        let Some(cursor) = self.broker.find(*subscription) else {
            self.peer.refuse(request, RefusalCode::NotSubscribed, 0);
            return;
        };
        if let (Some(name), Sent::Nack { .. } | Sent::Seek { .. }) = (&cursor.name, sent) {
            *self.handled_moves.entry(name.clone()).or_default() += 1;
        }
        match *sent {
            Sent::Commit { offset, quiet, .. } => {
                assert!(offset < cursor.next, "committed {offset} of {cursor:?}");
                cursor.done_to = cursor.done_to.max(offset + 1);
                let value = cursor.done_to;
                if !quiet {
                    self.peer.done(request, value);
                }
            }
            Sent::Nack { offset, .. } if offset < cursor.done_to && self.peer.version > Version::One => {
                self.peer.refuse(request, RefusalCode::NackCommitted, 0);
            }
            Sent::Nack { offset, .. } => {
                assert!(offset < cursor.next, "took {offset} of {cursor:?} back");
                if offset >= cursor.done_to {
                    (cursor.next, cursor.rewind) = (offset, cursor.rewind + 1);
                }
                let value = u64::from(cursor.rewind);
                self.peer.done(request, value);
            }
            Sent::Seek { to: Start::Offset(offset), .. } => {
                (cursor.next, cursor.done_to, cursor.rewind) = (offset, offset, cursor.rewind + 1);
                let value = u64::from(cursor.rewind);
                self.peer.done(request, value);
            }
            _ => panic!("{sent:?}"),
        }
    }
}
