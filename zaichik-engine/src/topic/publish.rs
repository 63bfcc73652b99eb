//! Publishing: the records of one publish, or of a batch, are checked and then appended (chapter C, rule R5).

use zaichik_proto::{Duplicate, Records, Refusal, RefusalCode, Timestamp};

use super::amount::Amount;
use super::keys::{KeyStatus, Keys};
use super::latest::LatestKeys;
use super::log::RecordInfo;
use super::{FREE_PER_COMMIT, Retired, SETTLED_AT_ONCE, Topic};

/// The outcome of one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Offset of the first record appended; `None` if all were duplicates.
    pub(crate) first_offset: Option<u64>,
    /// Number of records appended.
    pub(crate) count: u64,
}

/// The records that a group of publishes, checked together, would append.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendPlan {
    /// Their records, without duplicates.
    added: Amount,
    /// Number of the first key that is remembered for them.
    keys_from: u64,
    /// The first offset that stays: with `overflow = reject`, the records below it make room.
    keep_from: u64,
}

/// The parts of the broker that a topic needs to accept records.
#[derive(Debug)]
pub(crate) struct PublishContext<'a> {
    /// Largest message, in bytes.
    pub(crate) max_message: u32,
    /// Secret key for hashing message keys.
    pub(crate) hash_key: u128,
    /// Receives the duplicates found.
    pub(crate) duplicates: &'a mut Vec<Duplicate>,
    /// Receives allocations that the log frees while slices of them are still in use.
    pub(crate) retired: &'a mut Retired,
}

impl Topic {
    /// Accepts all records of a publish in one step, or refuses it and changes nothing (chapter C, rule R5).
    pub(crate) fn publish(
        &mut self,
        now: Timestamp,
        records: Records<'_>,
        context: &mut PublishContext<'_>,
    ) -> Result<Accepted, Refusal> {
        context.duplicates.clear();
        let mut plan = self.begin_plan(now);
        let accepted = self.check(now, records, &mut plan, context);
        match accepted {
            Ok(_) => {
                self.append(now, records, &plan, context.duplicates, context.retired);
                self.appended(now, context.retired);
            }
            Err(_) => self.abandon(&plan),
        }
        accepted
    }

    /// Starts to check publishes that are accepted together or not at all.
    pub(crate) fn begin_plan(&mut self, now: Timestamp) -> AppendPlan {
        self.age(now.as_micros());
        self.log.settle(now.as_micros(), SETTLED_AT_ONCE);
        if let Some(newest) = &mut self.newest {
            newest.discard_checked();
        }
        let keys_from = self.keys.as_ref().map_or(0, |keys| keys.next_number());
        AppendPlan { added: Amount::default(), keys_from, keep_from: self.log.first().offset }
    }

    /// Checks a publish after those in the plan. Only the plan and its remembered keys change. Afterwards either every
    /// publish of the plan is [appended](Self::append), in order, and [`appended`](Self::appended) is called, or the
    /// plan is [abandoned](Self::abandon).
    pub(crate) fn check(
        &mut self,
        now: Timestamp,
        records: Records<'_>,
        plan: &mut AppendPlan,
        context: &mut PublishContext<'_>,
    ) -> Result<Accepted, Refusal> {
        let before = *plan;
        self.plan_records(now.as_micros(), records, plan, context)?;
        plan.keep_from = self.check_limits(now.as_micros(), plan.added)?;
        let count = plan.added.without(before.added).records;
        let first_offset = (count > 0).then(|| self.log.end().saturating_add(before.added.records));
        Ok(Accepted { first_offset, count })
    }

    /// Forgets the keys that a refused plan remembers.
    pub(crate) fn abandon(&mut self, plan: &AppendPlan) {
        if let Some(keys) = &mut self.keys {
            keys.undo_to(plan.keys_from);
        }
        if let Some(newest) = &mut self.newest {
            newest.discard_checked();
        }
    }

    /// Appends the checked records, except the duplicates.
    pub(crate) fn append(
        &mut self,
        now: Timestamp,
        records: Records<'_>,
        plan: &AppendPlan,
        duplicates: &[Duplicate],
        retired: &mut Retired,
    ) {
        let count = u64::from(records.len()).saturating_sub(duplicates.len() as u64);
        if count == 0 {
            return;
        }
        let at = now.as_micros();
        self.last_append = now;
        self.log.raise_first(plan.keep_from);
        if self.is_unread() {
            if let Some(newest) = &mut self.newest {
                newest.discard_checked();
            }
            self.log.skip(count, at);
            return;
        }
        let is_latest = self.is_latest();
        let mut duplicates = duplicates.iter().peekable();
        for (record, index) in records.iter().zip(0u32..) {
            if duplicates.next_if(|duplicate| duplicate.record == index).is_none() {
                self.log.append(record.as_bytes(), record.ttl_micros(), at, retired);
                if is_latest {
                    let len = record.as_bytes().len();
                    let info = self.log.last(len, record.ttl_micros(), record.is_tombstone());
                    self.supersede(info, record.key().is_some(), at);
                }
            }
        }
    }

    /// Enforces the limits after all publishes of a plan or run were appended.
    pub(crate) fn appended(&mut self, now: Timestamp, retired: &mut Retired) {
        let at = now.as_micros();
        self.drop_oldest(at);
        self.log.free(FREE_PER_COMMIT, retired);
    }

    /// Looks up the key of each record and adds the records that are not duplicates to the plan.
    fn plan_records(
        &mut self,
        at: u64,
        records: Records<'_>,
        plan: &mut AppendPlan,
        context: &mut PublishContext<'_>,
    ) -> Result<(), Refusal> {
        let window = self.settings.compaction_window_micros;
        let remembers_keys = self.remembers_keys();
        let latest_mode = self.is_latest() && !self.is_unread();
        for (record, index) in records.iter().zip(0u32..) {
            if record.message_len() > context.max_message as usize {
                return Err(Refusal::with_value(RefusalCode::TooLarge, u64::from(context.max_message)));
            }
            let len = record.as_bytes().len() as u64;
            if len > self.settings.max_bytes {
                return Err(Refusal::with_value(RefusalCode::TooLarge, self.settings.max_bytes));
            }
            if remembers_keys && let Some(key) = record.key() {
                let offset = self.log.end().saturating_add(plan.added.records);
                // The publish may be refused, and the next one begins at the end again.
                let new = || Box::new(Keys::new(context.hash_key, window, self.log.end()));
                let keys = self.keys.get_or_insert_with(new);
                match keys.accept(key, at, offset, self.settings.max_keys) {
                    KeyStatus::New => {}
                    KeyStatus::Duplicate(offset) => {
                        context.duplicates.push(Duplicate { record: index, offset });
                        continue;
                    }
                    KeyStatus::LimitReached => {
                        return Err(Refusal::with_value(RefusalCode::KeysFull, self.settings.max_keys));
                    }
                }
            }
            if latest_mode && let Some(key) = record.key() {
                self.plan_latest(at, key, record.is_tombstone(), context.hash_key)?;
            }
            plan.added.add(Amount::one(len));
        }
        Ok(())
    }
}

/// Compaction in `latest` mode (rules C6 to C8), never inlined, so that other topics do not pay for it.
impl Topic {
    /// Finds the key of a record, or makes room for it.
    #[inline(never)]
    fn plan_latest(
        &mut self,
        at: u64,
        key: &[u8],
        is_tombstone: bool,
        hash_key: u128,
    ) -> Result<(), Refusal> {
        let (liveness, max_keys) = (self.liveness(at), self.settings.max_keys);
        let newest = self.newest.get_or_insert_with(|| Box::new(LatestKeys::new(hash_key)));
        if newest.check(key, is_tombstone, liveness, max_keys) {
            return Ok(());
        }
        Err(Refusal::with_value(RefusalCode::KeysFull, max_keys))
    }

    /// Registers an appended record; if it has a key, it supersedes the older record of that key.
    #[inline(never)]
    fn supersede(&mut self, info: RecordInfo, has_key: bool, at: u64) {
        if info.is_tombstone {
            self.log.track_tombstone(info);
        }
        if has_key && let Some(older) = self.newest.as_mut().and_then(|newest| newest.append(info)) {
            self.log.supersede(older, at);
        }
    }
}
