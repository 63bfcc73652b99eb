//! One exchange: which requests it applied, what each was answered, and what was delivered then.

use bytes::Buf;
use zaichik_proto::{ClientFrame, Commit, Nack, Refusal, RefusalCode, Seek, SeekTarget, ServerFrame};

use super::log::hash;
use super::replies::{Replies, Reply};
use super::sub::Sub;
use super::{Attached, Broken, Checker, Step, Tap, Verdict, is_copy, record_id};

impl Checker {
    /// Every invariant about one exchange.
    pub(crate) fn step(&mut self, step: Step<'_>) -> Verdict {
        let Some(mut tap) = self.taps.remove(&step.link) else {
            return Ok(());
        };
        self.now = self.now.max(step.told);
        tap.now = tap.now.max(self.now);
        let now = tap.now;
        let checked = self.step_of(&mut tap, step, now);
        if step.taken.is_none() && !tap.is_over {
            tap.is_over = true;
            self.ended(&mut tap, step.link, now);
        }
        self.taps.insert(step.link, tap);
        checked.map_err(|broken| broken.at(format!("connection {:#x}", step.link)))
    }

    fn step_of(&mut self, tap: &mut Tap, step: Step<'_>, now: u64) -> Verdict {
        let mut replies = Replies::parse(&self.limits, step.control, step.stream)?;
        let mut taken = tap.waiting.split_to(step.taken.unwrap_or(tap.waiting.len()).min(tap.waiting.len()));
        while !taken.is_empty() && tap.is_open && !tap.is_over {
            let mut decoder = tap.decoder.clone();
            let Ok(Some((frame, len))) = decoder.decode(&taken) else {
                break;
            };
            self.requests += 1;
            let is_answered =
                self.request(tap, step.link, &frame, &mut replies, now, step.taken.is_none())?;
            let is_last = matches!(frame, ClientFrame::Close) || !is_answered;
            tap.decoder = decoder;
            taken.advance(len);
            if is_last {
                break;
            }
        }
        if step.taken.is_none() {
            return Ok(());
        }
        if !taken.is_empty() && tap.is_open {
            return Broken::because(
                "W5",
                format!("{} bytes were taken that are no whole frame", taken.len()),
            );
        }
        if replies.run.is_some() || !replies.runs.is_empty() || replies.has_answers() {
            return Broken::because("P1", "an answer came that nothing was asked for".into());
        }
        while let Some(frame) = replies.stream.pop_front() {
            self.streamed(tap, &frame, now)?;
        }
        Ok(())
    }

    /// Whether the request was answered; only one that ended its connection may not be.
    fn request(
        &mut self,
        tap: &mut Tap,
        link: u64,
        frame: &ClientFrame<'_>,
        replies: &mut Replies<'_>,
        now: u64,
        is_end: bool,
    ) -> Result<bool, Broken> {
        let request = match frame {
            ClientFrame::Publish(publish) => {
                return self
                    .published(publish, replies, now, is_end)
                    .map_err(|broken| broken.at(name(publish.topic)));
            }
            ClientFrame::Commit(commit) => return self.commit(tap, commit, replies, is_end),
            ClientFrame::CreateTopic(create) => create.request,
            ClientFrame::AlterTopic(alter) => alter.request,
            ClientFrame::Subscribe(subscribe) => subscribe.request,
            ClientFrame::Unsubscribe(unsubscribe) => unsubscribe.request,
            ClientFrame::Nack(nack) => nack.request,
            ClientFrame::Seek(seek) => seek.request,
            ClientFrame::Batch(batch) => batch.request,
            ClientFrame::Describe(describe) => describe.request,
            ClientFrame::RemoveDurable(remove) => remove.request,
            // Pongs may overtake answers, so they are not among them.
            ClientFrame::Ping { .. }
            | ClientFrame::Hello(_)
            | ClientFrame::Pong { .. }
            | ClientFrame::Close
            | ClientFrame::Extension { .. } => {
                return Ok(true);
            }
        };
        let Some(reply) = replies.take_streamed(frame, request) else {
            return if is_end {
                Ok(false)
            } else {
                Broken::because("P1", format!("{frame:?} was not answered"))
            };
        };
        let refusal = if let Reply::Refused(refusal) = reply { Some(refusal) } else { None };
        match (frame, &reply) {
            (ClientFrame::CreateTopic(create), Reply::Frame(ServerFrame::TopicReady(ready))) => {
                self.topic_ready(create.topic, &create.options, ready.status);
            }
            (ClientFrame::AlterTopic(alter), Reply::Frame(_)) => self.altered(alter.topic, &alter.options),
            (ClientFrame::Subscribe(subscribe), Reply::Frame(ServerFrame::Subscribed(subscribed))) => {
                self.subscribed(tap, link, subscribe, subscribed, now)
                    .map_err(|broken| broken.at(name(subscribe.topic)))?;
            }
            (ClientFrame::Unsubscribe(unsubscribe), Reply::Frame(_)) => {
                if !tap.subs.contains_key(&unsubscribe.subscription) {
                    return Broken::because("A6", format!("{unsubscribe:?} of nothing was accepted"));
                }
                self.unsubscribed(tap, unsubscribe.subscription, now, false);
            }
            (ClientFrame::Nack(nack), _) => self.nack(tap, nack, &reply, now)?,
            (ClientFrame::Seek(seek), Reply::Frame(ServerFrame::Done(done))) => {
                self.seek(tap, seek, done.value);
            }
            (ClientFrame::Batch(batch), _) => self.batch(tap, batch, &reply, now)?,
            (_, Reply::Refused(_)) => {}
            _ => return Broken::because("P1", format!("{frame:?} was answered by {reply:?}")),
        }
        if let Some(refusal) = refusal {
            Self::refused(tap, frame, refusal)?;
        }
        Ok(true)
    }

    fn commit(
        &mut self,
        tap: &mut Tap,
        commit: &Commit,
        replies: &mut Replies<'_>,
        is_end: bool,
    ) -> Result<bool, Broken> {
        // Quiet commits share one id: a refusal that can't be this one's is for a later one.
        let is_for_later = commit.quiet
            && replies.next_refusal().is_some_and(|refusal| !self.may_refuse(tap, commit, refusal));
        let reply = if is_for_later { None } else { replies.take(commit.request) };
        match reply {
            Some(Reply::Frame(ServerFrame::Done(done))) => {
                self.commits(tap, commit.subscription, commit.offset, Some(done.value))?;
            }
            Some(Reply::Refused(refusal)) => {
                self.commit_refused(tap, commit.subscription, commit.offset, refusal)?;
            }
            None if commit.quiet && !is_end => self.commits(tap, commit.subscription, commit.offset, None)?,
            None if commit.quiet => {
                // The connection ended in this step: it may have been too late.
                if let Some(sub) = self.attached(tap, commit.subscription) {
                    sub.is_vague = true;
                    (sub.next, sub.cursor) = (None, None);
                }
            }
            None if is_end => return Ok(false),
            _ => return Broken::because("P1", format!("{commit:?} was answered by {reply:?}")),
        }
        Ok(true)
    }

    fn may_refuse(&mut self, tap: &Tap, commit: &Commit, refusal: Refusal) -> bool {
        // Who damages frames may give a commit the id of something else.
        let codes = [
            RefusalCode::NotSubscribed,
            RefusalCode::CommitAhead,
            RefusalCode::CommitsOff,
            RefusalCode::SubscriptionFenced,
        ];
        if !codes.contains(&refusal.code) {
            return false;
        }
        match (refusal.code, self.attached(tap, commit.subscription)) {
            (RefusalCode::CommitAhead, Some(sub)) => sub.refused_as_ahead(commit.offset, "A3").is_ok(),
            (RefusalCode::NotSubscribed | RefusalCode::SubscriptionFenced, sub) => sub.is_none(),
            _ => true,
        }
    }

    pub(super) fn commits(&mut self, tap: &Tap, number: u32, offset: u64, told: Option<u64>) -> Verdict {
        if let Some(epoch) = tap.fenced.get(&number) {
            return Broken::because(
                "D3",
                format!("a commit of {offset} was accepted, subscription {number} is fenced by {epoch}"),
            );
        }
        let Some(attached) = tap.subs.get(&number) else {
            return Broken::because(
                "A-06",
                format!("a commit of {offset} was accepted, {number} is not subscribed"),
            );
        };
        let key = self.sub(attached).map(|sub| sub.topic.clone()).unwrap_or_default();
        let Some(topic) = self.topics.remove(&key) else {
            return Ok(());
        };
        let checked = match self.attached(tap, number) {
            Some(sub) => sub.committed(offset, told, &topic),
            None => Ok(()),
        };
        self.topics.insert(key, topic);
        self.note_left_out(tap, number);
        checked.map_err(|broken| broken.at(format!("subscription {number}")))
    }

    fn commit_refused(&mut self, tap: &Tap, number: u32, offset: u64, refusal: Refusal) -> Verdict {
        match (refusal.code, self.attached(tap, number)) {
            (RefusalCode::CommitAhead, Some(sub)) => sub.refused_as_ahead(offset, "A3"),
            (RefusalCode::NotSubscribed | RefusalCode::SubscriptionFenced, Some(_)) => {
                Broken::because("A2", format!("a commit of subscription {number} was refused: {refusal:?}"))
            }
            _ => Ok(()),
        }
    }

    fn nack(&mut self, tap: &Tap, nack: &Nack, reply: &Reply<'_>, now: u64) -> Verdict {
        match reply {
            Reply::Frame(ServerFrame::Done(done)) => {
                if tap.fenced.contains_key(&nack.subscription) {
                    return Broken::because("D3", format!("{nack:?} was accepted, and is fenced"));
                }
                let Some(sub) = self.attached(tap, nack.subscription) else {
                    return Broken::because("A-06", format!("{nack:?} was accepted, and is not subscribed"));
                };
                let until = if nack.delay_micros == 0 { 0 } else { now.saturating_add(nack.delay_micros) };
                sub.nacked(nack.offset, done.value, until, now)?;
                self.dead_letters_of(tap, nack.subscription);
                Ok(())
            }
            Reply::Refused(refusal) if refusal.code == RefusalCode::NackAhead => self
                .attached(tap, nack.subscription)
                .map_or(Ok(()), |sub| sub.refused_as_ahead(nack.offset, "A4")),
            _ => Ok(()),
        }
    }

    fn seek(&mut self, tap: &Tap, seek: &Seek<'_>, rewind: u64) {
        let sub = match seek.target {
            SeekTarget::Subscription(number) => self.attached(tap, number),
            SeekTarget::Durable { topic, name } => {
                self.durables.get_mut(&(topic.to_vec(), name.to_owned())).map(|durable| &mut durable.sub)
            }
        };
        if let Some(sub) = sub {
            sub.sought();
            sub.rewind = u32::try_from(rewind).unwrap_or(0);
            let moved = sub.durable.clone().map(|name| (sub.topic.clone(), name));
            self.replayed.extend(moved);
        }
    }

    fn streamed(&mut self, tap: &Tap, frame: &ServerFrame<'_>, now: u64) -> Verdict {
        let number = match frame {
            ServerFrame::Delivery(delivery) => delivery.subscription,
            ServerFrame::Gap(gap) => gap.subscription,
            ServerFrame::Fenced(fenced) => {
                return match tap.fenced.get(&fenced.subscription) {
                    Some(_) => Ok(()),
                    None => Broken::because("D3", format!("{fenced:?} came, and nobody took it over")),
                };
            }
            other => return Broken::because("P1", format!("{other:?} answers nothing")),
        };
        let Some(attached) = tap.subs.get(&number) else {
            return Broken::because("A9", format!("subscription {number} is over, and {frame:?} came"));
        };
        let key = self.sub(attached).map(|sub| sub.topic.clone()).unwrap_or_default();
        let Some(mut topic) = self.topics.remove(&key) else {
            return Broken::because("I3", "a delivery from a topic that does not exist".into());
        };
        let checked = self.attached(tap, number).map_or(Ok(()), |sub| match frame {
            ServerFrame::Delivery(delivery) => sub.delivered(delivery, &mut topic, now),
            ServerFrame::Gap(gap) => sub.gap(gap, &topic, now),
            _ => Ok(()),
        });
        self.topics.insert(key.clone(), topic);
        checked.map_err(|broken| broken.at(format!("{} subscription {number}", name(&key))))?;
        if let ServerFrame::Delivery(delivery) = frame {
            self.deliveries += u64::from(delivery.records.len());
            self.seen(&key, delivery)?;
        }
        self.note_left_out(tap, number);
        Ok(())
    }

    /// A delivery may be the first to show a record.
    fn seen(&mut self, topic: &[u8], delivery: &zaichik_proto::Delivery<'_>) -> Verdict {
        for (offset, record) in (delivery.first_offset..).zip(delivery.records.iter()) {
            if is_copy(&record) {
                if self.apps.sees(hash(topic), offset) {
                    self.apps.copied(&record);
                }
            } else if let Some(id) = record_id(record.body())
                && !self.apps.is_placed(id)
            {
                self.apps.appended(Some(id), hash(topic), offset)?;
            }
        }
        Ok(())
    }

    pub(super) fn attached(&mut self, tap: &Tap, number: u32) -> Option<&mut Sub> {
        match tap.subs.get(&number)? {
            Attached::Own(key) => self.own.get_mut(key),
            Attached::Durable(topic, name) => {
                self.durables.get_mut(&(topic.clone(), name.clone())).map(|durable| &mut durable.sub)
            }
        }
    }
}

fn name(topic: &[u8]) -> String {
    String::from_utf8_lossy(topic).into_owned()
}
