//! What a session sends, altered before the checker and the client read it.

use bytes::{Bytes, BytesMut};
use zaichik_proto::{
    AckLevel, Acked, Batched, ClientDecoder, ClientFrame, Done, GapReason, HEADER_LEN, Operation, Publish,
    Published, RefusalCode, Refused, Seek, SeekTarget, ServerDecoder, ServerFrame, Start, Version,
};

use super::{Asked, Connection, Defect, Saboteur, Subscription};

impl Saboteur {
    /// Alters the frames that an exchange produced, as the checker reads them. It applied `taken` bytes of requests.
    pub(in crate::sim) fn alter_answers(
        &mut self,
        link: u64,
        taken: usize,
        is_over: bool,
        lanes: [&mut Vec<u8>; 2],
    ) {
        let mut connection = self.connections.remove(&link).unwrap_or_default();
        connection.examined = connection.examined.saturating_sub(taken);
        for lane in lanes {
            let mut altered = BytesMut::new();
            let mut rest = &lane[..];
            while let Some(bytes) = first_frame(rest) {
                let mut decoder = ServerDecoder::speaking(connection.version(), &self.limits);
                if let Ok(Some((frame, _))) = decoder.decode(bytes) {
                    self.note_answer(&mut connection, &frame);
                }
                self.alter_answer(&connection, bytes, &mut altered);
                rest = &rest[bytes.len()..];
            }
            *lane = altered.to_vec();
        }
        if is_over {
            self.note_end(&mut connection);
        }
        self.connections.insert(link, connection);
    }

    /// Alters bytes on their way to the client in the same way. An incomplete frame waits for its rest.
    pub(in crate::sim) fn alter_output(&mut self, link: u64, bytes: &[u8]) -> Bytes {
        let mut connection = self.connections.remove(&link).unwrap_or_default();
        let mut rest = std::mem::take(&mut connection.partial);
        rest.extend_from_slice(bytes);
        let mut altered = BytesMut::new();
        while let Some(len) = first_frame(&rest).map(<[u8]>::len) {
            let bytes = rest.split_to(len);
            // Welcome is written before the first exchange.
            if connection.version.is_none() {
                connection.version = self.welcomed(&bytes);
            }
            self.alter_answer(&connection, &bytes, &mut altered);
        }
        connection.partial = rest;
        self.connections.insert(link, connection);
        altered.freeze()
    }

    /// Appends what takes the place of a frame: another one, itself, or nothing.
    fn alter_answer(&self, connection: &Connection, bytes: &[u8], out: &mut BytesMut) {
        let mut decoder = ServerDecoder::speaking(connection.version(), &self.limits);
        let Ok(Some((frame, _))) = decoder.decode(bytes) else {
            return out.extend_from_slice(bytes);
        };
        match (self.defect, frame) {
            (Defect::SilentLimit, ServerFrame::Gap(gap)) if gap.reason == GapReason::Limit => {}
            (Defect::SameRewind, ServerFrame::Done(done)) => {
                let value = match connection.asked.get(&done.request) {
                    Some(Asked::Nack { rewind }) => u64::from(*rewind),
                    _ => done.value,
                };
                ServerFrame::Done(Done { value, ..done }).encode(out);
            }
            (Defect::FencedCommit, ServerFrame::Refused(refused))
                if refused.refusal.code == RefusalCode::SubscriptionFenced =>
            {
                match connection.asked.get(&refused.request) {
                    Some(Asked::Commit { offset }) => {
                        let (request, value) = (refused.request, offset.saturating_add(1));
                        ServerFrame::Done(Done { request, value }).encode(out);
                    }
                    _ => out.extend_from_slice(bytes),
                }
            }
            (Defect::HandedTwice, ServerFrame::Delivery(delivery)) => {
                out.extend_from_slice(bytes);
                if connection.subscriptions.get(&delivery.subscription).is_some_and(|one| one.is_shared) {
                    out.extend_from_slice(bytes);
                }
            }
            (Defect::CursorPast, ServerFrame::Acked(acked)) => {
                let cursor = acked.cursor.saturating_add(1);
                ServerFrame::Acked(Acked { cursor, ..acked }).encode(out);
            }
            (Defect::RepeatUnsaid, ServerFrame::Published(published)) => {
                let repeated = published.repeated.map(|_| false);
                ServerFrame::Published(Published { repeated, ..published }).encode(out);
            }
            (Defect::RepeatUnsaid, ServerFrame::Batched(batched)) => {
                let repeated = batched.repeated.map(|_| false);
                ServerFrame::Batched(Batched { repeated, ..batched }).encode(out);
            }
            (Defect::RepeatUnsaid, ServerFrame::Refused(refused)) => {
                let repeated = refused.repeated.map(|_| false);
                ServerFrame::Refused(Refused { repeated, ..refused }).encode(out);
            }
            _ => out.extend_from_slice(bytes),
        }
    }

    /// The version in a Welcome.
    fn welcomed(&self, bytes: &[u8]) -> Option<Version> {
        match ServerDecoder::handshake(&self.limits).decode(bytes) {
            Ok(Some((ServerFrame::Welcome(welcome), _))) => Version::from_number(welcome.version),
            _ => None,
        }
    }

    fn note_answer(&mut self, connection: &mut Connection, frame: &ServerFrame<'_>) {
        match frame {
            ServerFrame::Subscribed(one) => {
                let (durable, dead_letter, is_shared) = match connection.asked.remove(&one.request) {
                    Some(Asked::Subscribe { durable, dead_letter }) => (durable, dead_letter, false),
                    Some(Asked::Join { dead_letter }) => (None, dead_letter, true),
                    _ => return,
                };
                self.dead_letters.insert(dead_letter);
                let (next, committed, rewind) = (one.start, one.start, one.rewind);
                let subscription = Subscription { durable, next, committed, rewind, is_shared };
                connection.subscriptions.insert(one.subscription, subscription);
            }
            ServerFrame::Unsubscribed(one) => {
                connection.subscriptions.remove(&one.subscription);
            }
            ServerFrame::Fenced(fenced) => {
                connection.subscriptions.remove(&fenced.subscription);
            }
            ServerFrame::Delivery(delivery) => {
                if let Some(one) = connection.subscriptions.get_mut(&delivery.subscription) {
                    one.next = delivery.first_offset.saturating_add(u64::from(delivery.records.len()));
                    one.rewind = delivery.rewind;
                }
            }
            ServerFrame::Gap(gap) => {
                if let Some(one) = connection.subscriptions.get_mut(&gap.subscription) {
                    (one.next, one.rewind) = (gap.to, gap.rewind);
                }
            }
            ServerFrame::Refused(refused) => {
                let (producer, batch) = match connection.asked.get(&refused.request) {
                    Some(Asked::Publish(producer)) => (Some(*producer), None),
                    Some(Asked::Batch { frame, producer }) => (*producer, Some(frame)),
                    _ => return,
                };
                if let Some(producer) = producer
                    && let Some((epoch, last)) = self.sequences.get_mut(&producer.id)
                    && *epoch == producer.epoch
                {
                    *last = producer.sequence.saturating_sub(1).min(*last);
                }
                if self.defect == Defect::PartialBatch
                    && let Some(batch) = batch
                {
                    self.publish_part(connection.version(), &batch.clone(), refused.refusal.operation);
                }
            }
            _ => {}
        }
    }

    /// Publishes the records of a batch's first operations.
    fn publish_part(&mut self, version: Version, batch: &[u8], operations: u32) {
        let mut decoder = ClientDecoder::speaking(version, &self.limits);
        let Ok(Some((ClientFrame::Batch(batch), _))) = decoder.decode(batch) else { return };
        for operation in batch.operations.iter().take(operations as usize) {
            if let Operation::Publish { topic, records } = operation {
                let publish = Publish { request: 0, ack: AckLevel::None, producer: None, topic, records };
                ClientFrame::Publish(publish).encode(&mut self.own_requests);
            }
        }
    }

    /// The connection ended: with [`Defect::NoRedelivery`], its durable subscriptions move behind what was delivered.
    fn note_end(&mut self, connection: &mut Connection) {
        for one in std::mem::take(&mut connection.subscriptions).into_values() {
            let Some((topic, name)) = &one.durable else { continue };
            if self.defect == Defect::NoRedelivery && one.committed < one.next {
                let target = SeekTarget::Durable { topic, name };
                ClientFrame::Seek(Seek { request: 1, target, to: Start::Offset(one.next) })
                    .encode(&mut self.own_requests);
            }
        }
    }
}

/// The first frame of a stream, if it is complete.
fn first_frame(bytes: &[u8]) -> Option<&[u8]> {
    let body = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    bytes.get(..body + HEADER_LEN)
}
