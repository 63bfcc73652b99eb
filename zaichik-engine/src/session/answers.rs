//! Answers to publishes and batches, in as few frames as their order allows (rule P1).

use zaichik_proto::{
    AckRun, Acks, Batched, Entry, List, Published, Refusal, RefusalCode, Refused, ServerFrame, Version,
};

use crate::broker::{Batched as AcceptedBatch, Published as AcceptedPublish, Rejection};
use crate::outbound::{LaneKind, Outbound};
use zaichik_proto::Timestamp;

/// Bytes that must be free before a request is applied whose answer is short, or a record delivered.
pub(super) const SHORT_ANSWER: usize = 6 << 10;

/// Minimum time between two reports of refused publishes without acknowledgement, in microseconds.
const REPORT_EVERY: u64 = 1_000_000;

/// Answers on their way into the control lane.
#[derive(Debug)]
pub(super) struct Answers {
    /// The version of the connection.
    version: Version,
    /// Runs of accepted publishes that are not in the lane yet.
    runs: Vec<AckRun>,
    /// The offset that would continue the last run.
    continues_at: u64,
    /// Refused publishes without acknowledgement, by code, since the last report of that code; at most one entry per
    /// code.
    unreported: Vec<Refused>,
    /// No report before this.
    report_after: Timestamp,
    scratch: Vec<u8>,
    /// For a second list in one frame.
    more_scratch: Vec<u8>,
    /// Bytes allocated for all of these: asked for far more often than it changes.
    allocated: usize,
}

impl Default for Answers {
    /// Before the handshake is done, the version does not matter.
    fn default() -> Self {
        Self {
            version: Version::One,
            runs: Vec::new(),
            continues_at: 0,
            unreported: Vec::new(),
            report_after: Timestamp::ZERO,
            scratch: Vec::new(),
            more_scratch: Vec::new(),
            allocated: 0,
        }
    }
}

impl Answers {
    /// The handshake is done, and answers have the layout of this version.
    pub(super) const fn speak(&mut self, version: Version) {
        self.version = version;
    }

    pub(super) const fn version(&self) -> Version {
        self.version
    }

    /// Accepts `requests` publishes, of which `request` is the first, with nothing to report but their offsets. Their
    /// records have consecutive offsets.
    pub(super) fn accepted(
        &mut self,
        outbound: &mut Outbound,
        request: u32,
        requests: u32,
        first_offset: u64,
        records: u32,
    ) {
        let continued = self.continues_at == first_offset;
        self.continues_at = first_offset.saturating_add(u64::from(records));
        let last = self.runs.last_mut().filter(|_| continued);
        if let Some(run) = last
            && let Some(all) = run.requests.checked_add(requests)
        {
            run.requests = all;
            return;
        }
        let grows = self.runs.len() == self.runs.capacity();
        self.runs.push(AckRun { request, requests, first_offset });
        if grows {
            self.charge();
        }
        if self.runs.len() >= AckRun::MAX_ELEMENTS as usize {
            self.flush(outbound);
        }
    }

    /// Accepts a publish with more to report than its offset.
    pub(super) fn accepted_in_full(
        &mut self,
        outbound: &mut Outbound,
        request: u32,
        published: AcceptedPublish<'_>,
    ) {
        self.flush(outbound);
        let AcceptedPublish { created, first_offset, duplicates, is_repeat } = published;
        let repeated = self.repeated(is_repeat);
        let duplicates = List::encode_into(&mut self.scratch, duplicates.iter().copied());
        let answer = Published { request, created, repeated, first_offset, duplicates };
        control(outbound, &ServerFrame::Published(answer));
        self.charge();
    }

    /// Accepts a batch.
    pub(super) fn batched(
        &mut self,
        outbound: &mut Outbound,
        request: u32,
        AcceptedBatch { results, duplicates, is_repeat }: AcceptedBatch<'_>,
    ) {
        self.flush(outbound);
        let repeated = self.repeated(is_repeat);
        let results = List::encode_into(&mut self.scratch, results.iter().copied());
        let duplicates = List::encode_into(&mut self.more_scratch, duplicates.iter().copied());
        control(outbound, &ServerFrame::Batched(Batched { request, repeated, results, duplicates }));
        self.charge();
    }

    /// Refuses a request.
    pub(super) fn refused(&mut self, outbound: &mut Outbound, request: u32, rejection: Rejection) {
        let Rejection { refusal, is_repeat } = rejection;
        let (repeated, refusal) = (self.repeated(is_repeat), refusal.in_version(self.version));
        self.control(outbound, ServerFrame::Refused(Refused { request, count: 1, refusal, repeated }));
    }

    /// Refuses a publish without acknowledgement; [reported](Self::report) later.
    pub(super) fn refused_silently(&mut self, refusal: Refusal) {
        let (repeated, refusal) = (self.repeated(false), refusal.in_version(self.version));
        let known = self.unreported.iter_mut().find(|refused| refused.refusal.code == refusal.code);
        if let Some(refused) = known {
            refused.count = refused.count.saturating_add(1);
            refused.refusal = refusal;
            return;
        }
        self.unreported.push(Refused { request: 0, count: 1, refusal, repeated });
        self.charge();
    }

    /// Reports refused publishes without acknowledgement: one code per call, at most once a second.
    pub(super) fn report(&mut self, now: Timestamp, outbound: &mut Outbound) {
        if self.unreported.is_empty() || now < self.report_after {
            return;
        }
        let refused = self.unreported.remove(0);
        self.report_after = now.plus_micros(REPORT_EVERY);
        self.control(outbound, ServerFrame::Refused(refused));
    }

    /// When the next report is due.
    pub(super) fn report_due(&self) -> Option<Timestamp> {
        (!self.unreported.is_empty()).then_some(self.report_after)
    }

    /// Puts any other frame into the control lane, behind the answers so far.
    pub(super) fn control(&mut self, outbound: &mut Outbound, frame: ServerFrame<'_>) {
        self.flush(outbound);
        control(outbound, &frame);
    }

    /// Puts a frame that concerns no commit into the output; it leaves although others wait for one.
    pub(super) fn passing(&mut self, outbound: &mut Outbound, frame: ServerFrame<'_>) {
        if !outbound.is_holding() {
            self.flush(outbound);
        }
        outbound.passing_frame(|out| frame.encode(out));
    }

    /// Puts the runs into the lane.
    pub(super) fn flush(&mut self, outbound: &mut Outbound) {
        if !self.runs.is_empty() {
            let runs = List::encode_into(&mut self.scratch, self.runs.drain(..));
            control(outbound, &ServerFrame::Acks(Acks { runs }));
            self.charge();
        }
    }

    /// Bytes allocated.
    pub(super) fn allocated(&self) -> usize {
        debug_assert_eq!(self.allocated, self.recount(), "what answers allocate was not charged");
        self.allocated
    }

    /// A list may have allocated or freed memory.
    fn charge(&mut self) {
        self.allocated = self.recount();
    }

    fn recount(&self) -> usize {
        let runs = self.runs.capacity().saturating_mul(size_of::<AckRun>());
        let unreported = self.unreported.capacity().saturating_mul(size_of::<Refused>());
        let scratch = self.scratch.capacity().saturating_add(self.more_scratch.capacity());
        runs.saturating_add(unreported).saturating_add(scratch)
    }

    /// What an answer says about being repeated: nothing in version 1.
    fn repeated(&self, is_repeat: bool) -> Option<bool> {
        (self.version > Version::One).then_some(is_repeat)
    }

    /// Frees the memory of empty buffers.
    pub(super) fn shrink(&mut self) {
        if self.runs.is_empty() {
            self.runs = Vec::new();
            self.scratch = Vec::new();
            self.more_scratch = Vec::new();
            self.charge();
        }
    }
}

/// Puts a frame that is not part of an answer's order into the control lane.
pub(super) fn control(outbound: &mut Outbound, frame: &ServerFrame<'_>) {
    outbound.frame(LaneKind::Control, |out| frame.encode(out));
}

/// `unreported` has at most one entry for each code.
const _: () = assert!(RefusalCode::ALL.len() < 64, "a linear search is fast enough");
