//! Requests, altered after the checker has read them and before the broker does.
//!
//! An altered frame is as long as it was, so the checker still knows how many bytes an exchange applied.

use bytes::BytesMut;
use zaichik_proto::{
    Ack, AlterTopic, Batch, ClientDecoder, ClientFrame, Commit, CreateTopic, List, Nack, OffsetRange,
    Operation, Producer, Publish, Seek, SeekTarget, Subscribe, SubscribeShared, TopicOptions,
};

use super::{Asked, Connection, Defect, Saboteur};

impl Saboteur {
    /// Alters the requests that wait at a session, before it exchanges with the broker.
    pub(in crate::sim) fn alter_requests(&mut self, link: u64, waiting: &mut BytesMut) {
        let mut connection = self.connections.remove(&link).unwrap_or_default();
        loop {
            let rest = waiting.get(connection.examined..).unwrap_or_default();
            let mut decoder = ClientDecoder::speaking(connection.version(), &self.limits);
            let Ok(Some((frame, len))) = decoder.decode(rest) else { break };
            let mut altered = BytesMut::new();
            self.alter_request(&connection, frame, &mut altered);
            self.note_request(&mut connection, &frame);
            let end = connection.examined + len;
            if !altered.is_empty() {
                waiting[connection.examined..end].copy_from_slice(&altered);
            }
            connection.examined = end;
        }
        self.connections.insert(link, connection);
    }

    /// Encodes the frame that takes the place of this one, if one does.
    fn alter_request(&mut self, connection: &Connection, frame: ClientFrame<'_>, out: &mut BytesMut) {
        let next = |number| connection.subscriptions.get(&number).map_or(0, |one| one.next);
        match (self.defect, frame) {
            (Defect::CommitTwo, ClientFrame::Commit(commit))
                if commit.offset.saturating_add(1) < next(commit.subscription) =>
            {
                ClientFrame::Commit(Commit { offset: commit.offset + 1, ..commit }).encode(out);
            }
            (Defect::CommitAhead, ClientFrame::Commit(commit)) => {
                let last = next(commit.subscription).checked_sub(1);
                let offset = last.map_or(commit.offset, |last| commit.offset.min(last));
                ClientFrame::Commit(Commit { offset, ..commit }).encode(out);
            }
            (Defect::CommitRewound, ClientFrame::Commit(commit)) => {
                let rewind = commit.rewind.map(|_| u32::MAX);
                ClientFrame::Commit(Commit { rewind, ..commit }).encode(out);
            }
            (Defect::WideWindow, ClientFrame::Subscribe(one))
                if (1..self.limits.max_window).contains(&one.window) =>
            {
                ClientFrame::Subscribe(Subscribe { window: one.window + 1, ..one }).encode(out);
            }
            (Defect::AckOneMore, ClientFrame::Ack(ack)) => {
                let mut bytes = Vec::new();
                let wider =
                    |range: OffsetRange| OffsetRange { count: range.count.saturating_add(1), ..range };
                let ranges = List::encode_into(&mut bytes, ack.ranges.iter().map(wider));
                ClientFrame::Ack(Ack { ranges, ..ack }).encode(out);
            }
            (Defect::EarlyDeadline, ClientFrame::SubscribeShared(one)) => {
                let ack_deadline_micros = match one.ack_deadline_micros {
                    0 | 1 | u64::MAX => one.ack_deadline_micros,
                    micros => micros - 1,
                };
                ClientFrame::SubscribeShared(SubscribeShared { ack_deadline_micros, ..one }).encode(out);
            }
            (Defect::KeyToTwo, ClientFrame::SubscribeShared(one)) => {
                ClientFrame::SubscribeShared(SubscribeShared { by_key: false, ..one }).encode(out);
            }
            (Defect::DeadLetterLost, ClientFrame::Subscribe(one)) => {
                if let Some((last, name)) = one.dead_letter.split_last()
                    && self.dead_letters.contains(one.dead_letter)
                {
                    let other = [name, &[last ^ 1]].concat();
                    ClientFrame::Subscribe(Subscribe { dead_letter: &other, ..one }).encode(out);
                }
            }
            (Defect::LateExpiry | Defect::LateWindow, ClientFrame::CreateTopic(create)) => {
                let options = self.prolong(create.options);
                ClientFrame::CreateTopic(CreateTopic { options, ..create }).encode(out);
            }
            (Defect::LateExpiry | Defect::LateWindow, ClientFrame::AlterTopic(alter)) => {
                let options = self.prolong(alter.options);
                ClientFrame::AlterTopic(AlterTopic { options, ..alter }).encode(out);
            }
            (_, ClientFrame::Publish(publish)) => {
                if let Some(producer) = publish.producer.filter(|producer| self.is_disguised(producer)) {
                    let producer = Some(disguised(producer));
                    ClientFrame::Publish(Publish { producer, ..publish }).encode(out);
                }
            }
            (_, ClientFrame::Batch(batch)) => {
                if let Some(producer) = batch.producer.filter(|producer| self.is_disguised(producer)) {
                    let producer = Some(disguised(producer));
                    ClientFrame::Batch(Batch { producer, ..batch }).encode(out);
                }
            }
            _ => {}
        }
    }

    /// A topic's settings with a time that ends a microsecond later.
    fn prolong(&self, mut options: TopicOptions) -> TopicOptions {
        let time = match self.defect {
            Defect::LateExpiry => &mut options.retention_ttl_micros,
            _ => &mut options.compaction_window_micros,
        };
        *time = time.map(|time| if time > 0 { time.saturating_add(1) } else { 0 });
        options
    }

    /// Whether the broker is to take a request for one of another producer, of which it remembers nothing.
    fn is_disguised(&self, producer: &Producer) -> bool {
        let Some((epoch, last)) = self.sequences.get(&producer.id) else { return false };
        match self.defect {
            Defect::RetryTwice => producer.epoch == *epoch && producer.sequence <= *last,
            Defect::HoleAccepted => producer.epoch == *epoch && producer.sequence > last.saturating_add(1),
            _ => false,
        }
    }

    fn note_request(&mut self, connection: &mut Connection, frame: &ClientFrame<'_>) {
        let asked = match *frame {
            ClientFrame::Publish(Publish { request, producer: Some(producer), .. }) => {
                self.note_sequence(producer);
                (request, Asked::Publish(producer))
            }
            ClientFrame::Batch(batch) => {
                for operation in batch.operations.iter() {
                    if let Operation::Commit { subscription, offset, .. } = operation {
                        note_commit(connection, subscription, offset);
                    }
                }
                if let Some(producer) = batch.producer {
                    self.note_sequence(producer);
                }
                let mut encoded = BytesMut::new();
                frame.encode(&mut encoded);
                (batch.request, Asked::Batch { frame: encoded.to_vec(), producer: batch.producer })
            }
            ClientFrame::Subscribe(one) => {
                let durable = one.durable.map(|durable| (one.topic.to_vec(), durable.name.to_owned()));
                (one.request, Asked::Subscribe { durable, dead_letter: one.dead_letter.to_vec() })
            }
            ClientFrame::SubscribeShared(one) => {
                (one.request, Asked::Join { dead_letter: one.dead_letter.to_vec() })
            }
            ClientFrame::Commit(Commit { request, subscription, offset, .. }) => {
                note_commit(connection, subscription, offset);
                (request, Asked::Commit { offset })
            }
            ClientFrame::Nack(Nack { request, subscription, offset, .. }) => {
                let Some(one) = connection.subscriptions.get_mut(&subscription) else { return };
                one.next = one.next.min(offset.max(one.committed));
                (request, Asked::Nack { rewind: one.rewind })
            }
            ClientFrame::Seek(Seek { target: SeekTarget::Subscription(number), .. }) => {
                // The next delivery tells where it is.
                if let Some(one) = connection.subscriptions.get_mut(&number) {
                    (one.next, one.committed) = (0, 0);
                }
                return;
            }
            _ => return,
        };
        connection.asked.insert(asked.0, asked.1);
    }

    fn note_sequence(&mut self, producer: Producer) {
        let Producer { id, epoch, sequence } = producer;
        let newest = self.sequences.entry(id).or_insert((epoch, sequence));
        if epoch > newest.0 || epoch == newest.0 && sequence == newest.1.saturating_add(1) {
            *newest = (epoch, sequence);
        }
    }
}

fn note_commit(connection: &mut Connection, number: u32, offset: u64) {
    if let Some(one) = connection.subscriptions.get_mut(&number) {
        one.committed = one.committed.max(offset.saturating_add(1));
    }
}

const fn disguised(producer: Producer) -> Producer {
    Producer { id: !producer.id, ..producer }
}
