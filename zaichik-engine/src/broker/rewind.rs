//! Moving a subscription's position: Nack and Seek (semantics A4, A6, D6), and the end of its connection (D2).

use zaichik_proto::{Nack, Refusal, RefusalCode, Seek, SeekTarget};

use super::Broker;
use super::dead_letter::{Failure, Fate, REFUSED_PAUSE};
use super::topics::topic_name;
use crate::effects::Effects;
use crate::id::{SessionId, SubKey};
use crate::planted::{Defect, is_planted};
use zaichik_proto::Timestamp;

impl Broker {
    /// Goes back to an offset; the answer is the rewind number.
    pub(crate) fn nack(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: Nack,
        effects: &mut Effects,
    ) -> Result<u64, Refusal> {
        let Nack { subscription: number, offset, delay_micros, .. } = request;
        let key = self.subscription_key(session, number)?;
        let Some(subscription) = self.subscriptions.get(key.index()) else {
            return Err(Refusal::new(RefusalCode::NotSubscribed));
        };
        if !subscription.check_nack(offset)? {
            return Ok(u64::from(subscription.rewind()));
        }
        let fate = if subscription.is_delivered(offset) {
            self.record_failed(now, key, offset, Failure::Nack)
        } else {
            Fate::Stays
        };
        let delay = if fate == Fate::Refused { delay_micros.max(REFUSED_PAUSE) } else { delay_micros };
        let Some(subscription) = self.subscriptions.get_mut(key.index()) else {
            return Err(Refusal::new(RefusalCode::NotSubscribed));
        };
        if fate == Fate::Moved && !is_planted(Defect::DeadLetterStays) {
            subscription.raise_rewind();
            subscription.skip(offset);
        } else {
            subscription.nack(offset);
        }
        if delay > 0 {
            subscription.pause(now.plus_micros(delay));
        } else {
            subscription.resume();
        }
        Ok(self.position_moved(now, key, session, effects))
    }

    /// Moves a cursor; the answer is the rewind number.
    pub(crate) fn seek(
        &mut self,
        now: Timestamp,
        session: SessionId,
        request: &Seek<'_>,
        effects: &mut Effects,
    ) -> Result<u64, Refusal> {
        let key = match request.target {
            SeekTarget::Subscription(number) => self.subscription_key(session, number)?,
            SeekTarget::Durable { topic, name } => {
                let topic = topic_name(topic)?;
                let id = self.find_topic(topic.as_str()).ok_or(Refusal::new(RefusalCode::UnknownTopic))?;
                self.find_durable(now, id, name).ok_or(Refusal::new(RefusalCode::NotSubscribed))?
            }
        };
        let Some(subscription) = self.subscriptions.get_mut(key.index()) else {
            return Err(Refusal::new(RefusalCode::NotSubscribed));
        };
        let Some(topic) = self.topics.get_mut(subscription.topic.index()) else {
            return Err(Refusal::new(RefusalCode::UnknownTopic));
        };
        let position = topic.seek(now, request.to, subscription.cursor());
        subscription.seek(position);
        Ok(self.position_moved(now, key, session, effects))
    }

    /// A connection is over: its subscription ends, or waits for another connection.
    pub(super) fn lose_subscription(&mut self, now: Timestamp, key: SubKey) {
        let Some(subscription) = self.subscriptions.get(key.index()) else {
            return;
        };
        if subscription.durable.is_none() {
            return self.end_subscription(key);
        }
        let fate = match subscription.only_uncommitted() {
            Some(offset) => self.record_failed(now, key, offset, Failure::Disconnected),
            None => Fate::Stays,
        };
        if let Some(subscription) = self.subscriptions.get_mut(key.index())
            && fate == Fate::Moved
        {
            // Nothing else is uncommitted, so the cursor moves past gaps behind the record as well (R9).
            subscription.commit(subscription.next().offset);
            self.cursor_moved(now, key);
        }
        self.detach_durable(now, key);
        if let Some(subscription) = self.subscriptions.get_mut(key.index())
            && fate == Fate::Refused
        {
            subscription.hold_off(now.plus_micros(REFUSED_PAUSE));
        }
    }

    /// A position was moved: whoever has the subscription delivers from there. Returns the rewind number.
    fn position_moved(&mut self, now: Timestamp, key: SubKey, own: SessionId, effects: &mut Effects) -> u64 {
        self.stats.rewinds = self.stats.rewinds.saturating_add(1);
        self.cursor_moved(now, key);
        self.settle_subscription(key);
        self.make_ready(key, own, effects);
        self.subscriptions.get(key.index()).map_or(0, |subscription| u64::from(subscription.rewind()))
    }
}
