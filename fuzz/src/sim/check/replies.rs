//! The answers of one exchange, matched with its requests.

use std::collections::VecDeque;

use zaichik_proto::{AckRun, Limits, ServerDecoder, ServerFrame, Version};
use zaichik_testkit::rebuilt_server_frame;

use super::{Broken, Verdict};
use crate::model::decode;
use crate::model::words::{Answer, Request};

/// The answers of one exchange, in order, and what it delivered.
#[derive(Debug)]
pub(super) struct Replies<'a> {
    control: VecDeque<ServerFrame<'a>>,
    pub(super) stream: VecDeque<ServerFrame<'a>>,
    runs: VecDeque<AckRun>,
    /// Publishes left in the current run, and the offset of the next one.
    run: Option<(u32, u64)>,
    /// The number of refused requests.
    pub(super) refused: u64,
    /// Refused publishes without acknowledgement that were reported.
    pub(super) refused_silently: i64,
}

impl<'a> Replies<'a> {
    pub(super) fn parse(
        version: Version,
        limits: &Limits,
        control: &'a [u8],
        stream: &'a [u8],
    ) -> Result<Self, Broken> {
        let frames = |bytes| frames(version, limits, bytes);
        let (mut control, mut stream) = (frames(control)?, frames(stream)?);
        let is_reply = |frame: &ServerFrame<'_>| match frame {
            ServerFrame::Ping { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Goodbye(_)
            | ServerFrame::Fatal(_)
            | ServerFrame::Welcome(_) => false,
            ServerFrame::Refused(refused) => refused.request != 0,
            _ => true,
        };
        let silent = control.iter().filter_map(|frame| match frame {
            ServerFrame::Refused(refused) if refused.request == 0 => Some(i64::from(refused.count)),
            _ => None,
        });
        let refused_silently = silent.sum();
        let is_refusal =
            |frame: &&ServerFrame<'_>| matches!(frame, ServerFrame::Refused(one) if one.request != 0);
        let refused = control.iter().filter(is_refusal).count() as u64;
        control.retain(is_reply);
        stream.retain(is_reply);
        Ok(Self { control, stream, runs: VecDeque::new(), run: None, refused, refused_silently })
    }

    /// The answer to a request. The id alone does not identify it: a peer may give one id to two requests. If one of two
    /// equal Subscribes is refused, their answers are in both lanes, of which neither comes first; then the model decides
    /// with `is_refused` which of them this request has.
    pub(super) fn take(
        &mut self,
        id: u32,
        request: &Request,
        is_refused: impl FnOnce() -> bool,
    ) -> Option<Answer> {
        let is_streamed = match (request, self.stream.front()) {
            (Request::Subscribe(asked), Some(ServerFrame::Subscribed(answer))) => {
                (id, asked.number) == (answer.request, answer.subscription)
            }
            (Request::Join(asked), Some(ServerFrame::Subscribed(answer))) => {
                (id, asked.number) == (answer.request, answer.subscription)
            }
            (Request::Unsubscribe { number }, Some(ServerFrame::Unsubscribed(answer))) => {
                (id, *number) == (answer.request, answer.subscription)
            }
            _ => false,
        };
        let has_refusal =
            || matches!(self.control.front(), Some(ServerFrame::Refused(one)) if one.request == id);
        if is_streamed && !(has_refusal() && is_refused()) {
            return self
                .stream
                .pop_front()
                .and_then(|frame| decode::answer(&frame))
                .map(|(_, answer)| answer);
        }
        if let Request::Publish { records, .. } = request
            && let Some(first) = self.take_from_run(id, records.len() as u64)
        {
            return Some(Answer::Published { created: false, first: Some(first), duplicates: Vec::new() });
        }
        let (answered, answer) = decode::answer(self.control.front()?)?;
        self.control.pop_front_if(|_| answered == id && self.run.is_none() && self.runs.is_empty())?;
        Some(answer)
    }

    /// The first offset of a publish whose answer is part of a run.
    fn take_from_run(&mut self, id: u32, records: u64) -> Option<u64> {
        if self.run.is_none() && self.runs.is_empty() {
            let ServerFrame::Acks(acks) = self.control.front()? else { return None };
            self.runs.extend(acks.runs.iter());
            self.control.pop_front();
        }
        let (left, offset) = if let Some(run) = self.run.take() {
            run
        } else {
            let run = self.runs.pop_front_if(|run| run.request == id)?;
            (run.requests, run.first_offset)
        };
        self.run = left.checked_sub(1).filter(|left| *left > 0).map(|left| (left, offset + records));
        Some(offset)
    }

    /// The answer to a Describe, which the model does not know.
    pub(super) fn take_description(&mut self, id: u32) -> Verdict {
        let is_it = match self.control.pop_front() {
            Some(ServerFrame::Counters(counters)) => counters.request == id,
            Some(ServerFrame::Topics(page)) => page.request == id,
            Some(ServerFrame::Subscriptions(page)) => page.request == id,
            Some(ServerFrame::Refused(refused)) => refused.request == id,
            _ => false,
        };
        if is_it { Ok(()) } else { Broken::because("P1", format!("Describe {id} was not answered")) }
    }

    /// Whether unmatched answers remain.
    pub(super) fn has_answers(&self) -> bool {
        let is_answer = |frame| decode::answer(frame).is_some();
        self.run.is_some()
            || !self.runs.is_empty()
            || !self.control.is_empty()
            || self.stream.iter().any(is_answer)
    }
}

/// Rule I18: whole frames, the values of each of which encode to the same bytes.
fn frames<'a>(
    version: Version,
    limits: &Limits,
    mut bytes: &'a [u8],
) -> Result<VecDeque<ServerFrame<'a>>, Broken> {
    let mut frames = VecDeque::new();
    let mut decoder = ServerDecoder::speaking(version, limits);
    while !bytes.is_empty() {
        match decoder.decode(bytes) {
            Ok(Some((frame, len))) => {
                if rebuilt_server_frame(&frame) != bytes[..len] {
                    return Broken::because("I18", format!("{frame:?} encodes to other bytes"));
                }
                frames.push_back(frame);
                bytes = &bytes[len..];
            }
            other => {
                return Broken::because("I18", format!("the broker's output does not decode: {other:?}"));
            }
        }
    }
    Ok(frames)
}
