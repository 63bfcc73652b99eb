//! What one exchange answered, matched with its requests.

use std::collections::VecDeque;

use bytes::BytesMut;
use zaichik_proto::{AckRun, ClientFrame, Refusal, ServerDecoder, ServerFrame};

use super::Broken;

/// What was answered to one request.
#[derive(Debug, Clone)]
pub(super) enum Reply<'a> {
    Frame(ServerFrame<'a>),
    /// A publish that was plainly accepted.
    At(u64),
    Refused(Refusal),
}

/// The answers of one exchange, in order.
pub(super) struct Replies<'a> {
    pub(super) control: VecDeque<ServerFrame<'a>>,
    pub(super) stream: VecDeque<ServerFrame<'a>>,
    pub(super) runs: VecDeque<AckRun>,
    /// Publishes left of the run at hand, and where the next one is.
    pub(super) run: Option<(u32, u64)>,
}

impl<'a> Replies<'a> {
    pub(super) fn parse(
        limits: &zaichik_proto::Limits,
        control: &'a [u8],
        stream: &'a [u8],
    ) -> Result<Self, Broken> {
        let control = frames(limits, control)?.into_iter().filter(|frame| match frame {
            ServerFrame::Ping { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Goodbye(_)
            | ServerFrame::Fatal(_) => false,
            ServerFrame::Refused(refused) => refused.request != 0,
            _ => true,
        });
        let stream = frames(limits, stream)?;
        Ok(Self { control: control.collect(), stream: stream.into(), runs: VecDeque::new(), run: None })
    }

    /// The answer to a request that may be answered in the stream lane. Its id alone does not tell: who damages frames may
    /// give one id to two requests, of which one is refused.
    pub(super) fn take_streamed(&mut self, frame: &ClientFrame<'_>, request: u32) -> Option<Reply<'a>> {
        let is_it = match (frame, self.stream.front()) {
            (ClientFrame::Subscribe(asked), Some(ServerFrame::Subscribed(told))) => {
                (asked.request, asked.subscription) == (told.request, told.subscription)
            }
            (ClientFrame::Unsubscribe(asked), Some(ServerFrame::Unsubscribed(told))) => {
                (asked.request, asked.subscription) == (told.request, told.subscription)
            }
            _ => false,
        };
        if is_it { self.stream.pop_front().map(Reply::Frame) } else { self.take(request) }
    }

    pub(super) fn take(&mut self, request: u32) -> Option<Reply<'a>> {
        let is_it = match self.control.front()? {
            ServerFrame::TopicReady(ready) => ready.request == request,
            ServerFrame::Done(done) => done.request == request,
            ServerFrame::Batched(batched) => batched.request == request,
            ServerFrame::Published(published) => published.request == request,
            ServerFrame::Refused(refused) => refused.request == request,
            _ => false,
        };
        let frame = self.control.pop_front_if(|_| is_it && self.run.is_none() && self.runs.is_empty())?;
        Some(if let ServerFrame::Refused(refused) = frame {
            Reply::Refused(refused.refusal)
        } else {
            Reply::Frame(frame)
        })
    }

    pub(super) fn publish(&mut self, request: u32, records: u32) -> Option<Reply<'a>> {
        if self.run.is_none() && self.runs.is_empty() {
            if let Some(ServerFrame::Acks(acks)) = self.control.front() {
                self.runs.extend(acks.runs.iter());
                self.control.pop_front();
            } else {
                return self.take(request);
            }
        }
        let (left, offset) = if let Some(run) = self.run.take() {
            run
        } else {
            let run = self.runs.pop_front().filter(|run| run.request == request)?;
            (run.requests, run.first_offset)
        };
        if left > 1 {
            self.run = Some((left - 1, offset + u64::from(records)));
        }
        Some(Reply::At(offset))
    }

    /// The next answer, if it is a refusal.
    pub(super) fn next_refusal(&self) -> Option<Refusal> {
        match self.control.front()? {
            ServerFrame::Refused(refused) => Some(refused.refusal),
            _ => None,
        }
    }

    /// Whether answers are left; deliveries are none.
    pub(super) fn has_answers(&self) -> bool {
        let is_answer = |frame: &ServerFrame<'_>| {
            matches!(frame, ServerFrame::Subscribed(_))
                || matches!(frame, ServerFrame::Unsubscribed(one) if one.request != 0)
        };
        let is_welcome = |frame: &ServerFrame<'_>| matches!(frame, ServerFrame::Welcome(_));
        !self.control.iter().all(is_welcome) || self.stream.iter().any(is_answer)
    }
}

/// I18: whole frames, each of which encodes to the same bytes.
fn frames<'a>(limits: &zaichik_proto::Limits, mut bytes: &'a [u8]) -> Result<Vec<ServerFrame<'a>>, Broken> {
    let mut frames = Vec::new();
    let mut decoder = ServerDecoder::new(limits);
    while !bytes.is_empty() {
        match decoder.decode(bytes) {
            Ok(Some((frame, len))) => {
                let mut again = BytesMut::new();
                frame.encode(&mut again);
                if again != bytes[..len] {
                    return Broken::because("I18", format!("{frame:?} encodes to other bytes"));
                }
                frames.push(frame);
                bytes = &bytes[len..];
            }
            other => {
                return Broken::because("I18", format!("the broker's output does not decode: {other:?}"));
            }
        }
    }
    Ok(frames)
}
