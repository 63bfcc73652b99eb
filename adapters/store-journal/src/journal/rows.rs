//! Stores what a broker commits.

use zaichik_engine::store::{Commit, Op};

use super::Journal;
use crate::disk::Disk;
use crate::error::StoreError;

impl<D: Disk> Journal<D> {
    /// Makes a commit of a broker durable, as [`commit`](Self::commit) does. Copies the records once.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Self::commit).
    pub fn commit_rows(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let (mut key, mut head) = (Vec::new(), Vec::new());
        self.transact(|draft| {
            for op in &commit.ops {
                key.clear();
                match op {
                    Op::Put { row } => {
                        head.clear();
                        row.key().encode(&mut key);
                        row.encode_head(&mut head);
                        draft.put(&key, &[&head, row.data()])?;
                    }
                    Op::Remove { key: removed } => {
                        removed.encode(&mut key);
                        draft.remove(&key)?;
                    }
                    Op::Trim { topic, from, to } => draft.trim(*topic, *from, *to),
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use zaichik_engine::Timestamp;
    use zaichik_engine::store::{Commit, Key, MetaRow, Op, RecordsRow, Row, Run, RunKind, Ticket};

    use super::*;
    use crate::options::Options;
    use crate::simulated::SimulatedDisk;

    fn records(start: u64) -> Row {
        let runs = vec![Run { kind: RunKind::Expired, count: 5 }];
        let last_timestamp = Timestamp::from_micros(9);
        Row::Records(RecordsRow { topic: 1, start, last_timestamp, runs, data: Bytes::new() })
    }

    #[test]
    fn rows_of_a_broker_are_read_back_in_the_order_of_their_keys() {
        let options = Options { reserve_bytes: 0, ..Options::new(7) };
        let mut journal = Journal::on(SimulatedDisk::new(1), options).unwrap();
        let meta = |now| Row::Meta(MetaRow { instance: 7, now: Timestamp::from_micros(now) });
        let puts = [records(5), records(0), meta(1), records(10), meta(2)];
        let ops = puts.into_iter().map(|row| Op::Put { row }).collect();
        journal.commit_rows(&Commit { ticket: Ticket::FIRST, ops }).unwrap();
        let ops = vec![
            Op::Trim { topic: 1, from: 0, to: 5 },
            Op::Remove { key: Key::Records { topic: 1, start: 10 } },
        ];
        journal.commit_rows(&Commit { ticket: Ticket::new(2), ops }).unwrap();
        let mut rows = Vec::new();
        let mut journal = Journal::on(journal.into_disk(), options).unwrap();
        journal
            .rows(|key, value| {
                rows.push(Row::decode(key, value).unwrap());
                Ok::<_, StoreError>(())
            })
            .unwrap();
        assert_eq!(rows, [meta(2), records(5)]);
    }
}
