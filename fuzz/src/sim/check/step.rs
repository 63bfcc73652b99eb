//! One exchange: the requests that it applied, their answers, and the deliveries.

use bytes::Buf;
use zaichik_proto::{Ack, AckLevel, ClientFrame, Commit, RefusalCode, ServerFrame};

use super::apps::record_id;
use super::replies::Replies;
use super::{Broken, Checker, Tap, Verdict};
use crate::model::decode;
use crate::model::group::Group;
use crate::model::words::{Answer, Request, Target};

/// One exchange of a connection with the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) link: u64,
    /// Bytes of requests that it applied.
    pub(crate) taken: usize,
    /// Whether the connection ended in it, or before.
    pub(crate) is_over: bool,
    /// Whether its end is no failure of what its members hold (rule G5).
    pub(crate) is_orderly: bool,
    /// Whether everything that is due was delivered.
    pub(crate) is_drained: bool,
    pub(crate) control: &'a [u8],
    pub(crate) stream: &'a [u8],
    /// The time that was passed to the broker.
    pub(crate) now: u64,
    /// If the broker may lack memory: how many requests it refused, and how many dead letters it made.
    pub(crate) refused: Option<u64>,
    pub(crate) dead_letters: Option<u64>,
    /// Offsets that are still uncommitted, and that the broker may have been unable to copy to a dead-letter topic, with the
    /// topics and names of their durable subscriptions: of exclusive ones if the connection ended.
    pub(crate) left: &'a [(String, String, u64)],
}

impl Checker {
    /// Whether the time that some members may hold records is over, and their end may make dead letters.
    pub(crate) fn may_bury_late(&self, now: u64) -> bool {
        let is_late = |one: &Group| one.terms.dead_letter.is_some() && !one.overdue(now).is_empty();
        self.model.groups.iter().any(is_late)
    }

    /// Whether requests or the end of this connection may make dead letters of shared subscriptions.
    pub(crate) fn may_bury_shared(&self, link: u64) -> bool {
        self.model.groups.iter().any(|one| one.terms.dead_letter.is_some() && one.has_member(link))
    }

    /// Whether the end of this connection may make dead letters of exclusive subscriptions.
    pub(crate) fn may_bury(&self, link: u64) -> bool {
        self.model.subscriptions.iter().any(|one| {
            one.holder.is_some_and(|(holder, _)| holder == link)
                && one.name.is_some()
                && one.terms.dead_letter.is_some()
                && one.uncommitted.len() == 1
        })
    }

    /// Compares one exchange with the model (rules I7, I9, I12, I15): contiguous offsets and whole batches, exact
    /// expiry, windows, epochs, and every other rule of the broker.
    pub(crate) fn step(&mut self, step: Step<'_>) -> Verdict {
        let Some(mut tap) = self.taps.remove(&step.link) else {
            return Ok(());
        };
        self.model.tick(step.now);
        self.model.dead_letter_room = step.dead_letters;
        self.left(step.left);
        let checked = self.step_of(&mut tap, step);
        if step.is_over && !tap.is_over {
            tap.is_over = true;
            self.model.disconnect(step.link, step.is_orderly);
        }
        self.model.left_at_end.clear();
        self.taps.insert(step.link, tap);
        checked.map_err(|broken| broken.at(format!("connection {:#x}", step.link)))
    }

    /// Offsets that the broker may have been unable to copy to a dead-letter topic, by topic and name.
    pub(super) fn left(&mut self, left: &[(String, String, u64)]) {
        let names = &self.model.names;
        let left = left.iter().filter_map(|(topic, name, at)| {
            let (topic, name) = names.find(topic, name)?;
            Some((topic, name, *at))
        });
        self.model.left_at_end = left.collect();
    }

    fn step_of(&mut self, tap: &mut Tap, step: Step<'_>) -> Verdict {
        let mut replies = Replies::parse(tap.version, &self.limits, step.control, step.stream)?;
        let mut taken = tap.waiting.split_to(step.taken.min(tap.waiting.len()));
        let silent = tap.silent_publishes(&taken);
        let refused = step.refused.map_or(0, |refused| refused.saturating_sub(replies.refused));
        let mut silence = Silence { publishes: silent, refused: refused.min(silent) };
        while !taken.is_empty() && tap.is_open && !tap.is_over {
            let mut decoder = tap.decoder.clone();
            let Ok(Some((frame, len))) = decoder.decode(&taken) else {
                break;
            };
            self.requests += 1;
            self.request(tap, step.link, &frame, &mut replies, &mut silence)?;
            tap.decoder = decoder;
            let is_last = matches!(frame, ClientFrame::Close);
            taken.advance(len);
            if is_last {
                break;
            }
        }
        if !taken.is_empty() && tap.is_open && !step.is_over {
            return Broken::because(
                "S2",
                format!("{} bytes were taken that are no whole frame", taken.len()),
            );
        }
        tap.refused_silently -= replies.refused_silently;
        if tap.refused_silently < 0 {
            return Broken::because("P1", "more refusals were reported than there were".into());
        }
        if replies.has_answers() {
            return Broken::because("P1", format!("{replies:?} answers nothing"));
        }
        for frame in &replies.stream {
            let Some((number, events)) = decode::events(frame) else { continue };
            if let ServerFrame::Delivery(_) = frame {
                self.model.check_run(step.link, number, events.len())?;
            }
            for event in events {
                let followed = self.model.follow(step.link, number, &event);
                followed.map_err(|broken| broken.at(format!("subscription {number}")))?;
            }
            if let ServerFrame::Delivery(delivery) = frame {
                self.deliveries += u64::from(delivery.records.len());
            }
        }
        if step.is_drained {
            return self.model.check_drained(step.link);
        }
        self.model.not_drained(step.link);
        Ok(())
    }

    fn request(
        &mut self,
        tap: &mut Tap,
        link: u64,
        frame: &ClientFrame<'_>,
        replies: &mut Replies<'_>,
        silence: &mut Silence,
    ) -> Verdict {
        if let ClientFrame::Describe(describe) = frame {
            return replies.take_description(describe.request);
        }
        let Some((id, request)) = decode::request(frame, &mut self.model.names) else {
            return Ok(());
        };
        let is_quiet_commit = matches!(frame, ClientFrame::Commit(Commit { quiet: true, .. }));
        let is_quiet = is_quiet_commit || matches!(frame, ClientFrame::Ack(Ack { quiet: true, .. }));
        let is_silent = matches!(request, Request::Publish { ack: AckLevel::None, .. });
        let mut reply = match () {
            () if is_silent => silence.take(),
            () if is_quiet_commit => None,
            () => replies.take(id, &request, || self.model.clone().request(link, &request).is_refusal()),
        };
        self.reveal(link, &request, reply.as_ref());
        self.note_durables(link, &request);
        let mut expected = match &reply {
            Some(busy @ Answer::Refused { code: RefusalCode::Busy, .. }) => {
                self.model.request_without_memory(link, &request, busy.clone())
            }
            _ => self.model.request(link, &request),
        };
        let is_told = !matches!(&expected, Answer::Acked { not_held, .. } if not_held.is_empty());
        let is_answered = expected.is_refusal() || is_told && matches!(request, Request::Settle(_));
        if is_quiet_commit && is_answered {
            reply = replies.take(id, &request, || false);
        }
        self.reveal_cursor(link, &request, reply.as_ref(), &mut expected);
        self.appended()?;
        if let (
            Request::Publish { producer: Some(_), .. } | Request::Batch { producer: Some(_), .. },
            Answer::Refused { code, .. },
        ) = (&request, &expected)
            && code.is_retryable()
        {
            self.refused_at = self.model.now;
        }
        tap.refused_silently += i64::from(is_silent && expected.is_refusal());
        silence.refused -= u64::from(is_silent && expected.is_refusal()).min(silence.refused);
        let is_right = match &reply {
            Some(answer) => expected.allows(answer) || is_silent,
            None => is_silent || is_quiet && !is_answered,
        };
        if is_right {
            return Ok(());
        }
        let answer = reply.map_or_else(|| "not at all".to_owned(), |answer| format!("{answer:?}"));
        let text = format!("{request:?} is answered {answer}, expected {expected:?}");
        Broken::because(rule(&request), text)
    }

    /// Durable subscriptions that begin again, or are moved, may redeliver committed records.
    fn note_durables(&mut self, link: u64, request: &Request) {
        let durable = match request {
            Request::Subscribe(subscribe) => {
                let Some(durable) = subscribe.durable else { return };
                let durable = (subscribe.topic, durable.name);
                let is_new = self.model.durable(durable.0, durable.1).is_none();
                (!self.known.insert(durable) && is_new).then_some(durable)
            }
            Request::Seek { target: Target::Name { topic, name }, .. } => Some((*topic, *name)),
            Request::Seek { target: Target::Number(number), .. } => {
                let one = self.model.index_of(link, *number).map(|index| &self.model.subscriptions[index]);
                one.and_then(|one| Some((one.topic, one.name?)))
            }
            _ => None,
        };
        self.replayed.extend(durable);
    }

    /// Compares the records that a request appended with those that applications sent.
    fn appended(&mut self) -> Verdict {
        for (topic, first, count) in std::mem::take(&mut self.model.appended) {
            let log = self.model.topic(topic).expect("records were appended to it");
            for offset in first..first + count {
                let entry = log.entry(offset, self.model.now);
                let id = entry.and_then(|(entry, _)| record_id(&entry.record.body));
                self.apps.appended(id, topic, offset)?;
            }
        }
        Ok(())
    }
}

/// The known outcomes of an exchange's publishes without acknowledgement.
struct Silence {
    /// Their remaining number.
    publishes: u64,
    /// How many of them are refused.
    refused: u64,
}

impl Silence {
    /// The outcome of the next one, if known: once memory is lacking, it is lacking until the end of the exchange, so
    /// the last ones are refused.
    fn take(&mut self) -> Option<Answer> {
        let is_refused = self.refused > 0 && self.refused >= self.publishes;
        self.publishes = self.publishes.saturating_sub(1);
        is_refused.then_some(Answer::refused((RefusalCode::Busy, 0)))
    }
}

impl Tap {
    /// The number of publishes without acknowledgement in the requests of an exchange.
    fn silent_publishes(&self, mut taken: &[u8]) -> u64 {
        let (mut decoder, mut count) = (self.decoder.clone(), 0);
        while let Ok(Some((frame, len))) = decoder.decode(taken) {
            let is_silent = matches!(&frame, ClientFrame::Publish(publish) if publish.ack == AckLevel::None);
            count += u64::from(is_silent);
            taken = &taken[len..];
        }
        count
    }
}

/// The chapter of the rules that an answer follows.
const fn rule(request: &Request) -> &'static str {
    match request {
        Request::Publish { producer: Some(_), .. } => "P3",
        Request::Publish { .. } => "Rules O1, C1, P1",
        Request::Batch { .. } => "X1",
        Request::Subscribe(_) | Request::RemoveDurable { .. } => "Rule R3, D2",
        Request::Unsubscribe { .. } => "A9",
        Request::Commit { .. } => "A2",
        Request::Nack { .. } => "A4",
        Request::Seek { .. } => "D6",
        Request::Create { .. } | Request::Alter { .. } => "T3",
        Request::Trim { .. } => "R10",
        Request::Join(_) => "G1",
        Request::Settle(_) => "G3",
        Request::DescribeShared { .. } => "G11",
    }
}
