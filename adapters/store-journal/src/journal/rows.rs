//! Stores what a broker commits.

use zaichik_engine::store::{Commit, Op, Row};

use super::Journal;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::fetcher::Fetcher;

impl<D: Disk> Journal<D> {
    /// Makes a commit of a broker durable, as [`commit`](Self::commit) does. Copies the records once.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Self::commit).
    pub fn commit_rows(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let (mut key, mut front, mut head) = (Vec::new(), Vec::new(), Vec::new());
        self.transact(|draft| {
            for op in &commit.ops {
                key.clear();
                match op {
                    Op::Put { row } => {
                        front.clear();
                        head.clear();
                        row.key().encode(&mut key);
                        row.encode_head(&mut front);
                        if let Row::Records(records) = row
                            && let Some(known) = records.head()
                        {
                            known.encode(&mut head);
                        }
                        draft.put(&key, &head, &[&front, row.data()])?;
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

impl<D: Disk> Journal<D> {
    /// What reads records back on another thread, from the same directory.
    pub fn fetcher<R: Disk>(&self, disk: R) -> Fetcher<R> {
        Fetcher::new(disk, self.index.clone())
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use zaichik_engine::Timestamp;
    use zaichik_engine::store::{Fetch, Key, MetaRow, RecordsRow, Run, RunKind, Ticket};
    use zaichik_proto::Record;

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
        let meta =
            |now| Row::Meta(MetaRow { instance: 7, now: Timestamp::from_micros(now), stopped_micros: 0 });
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

    #[test]
    fn records_are_read_back_that_begin_in_a_range() {
        let options = Options { reserve_bytes: 0, ..Options::new(7) };
        let disk = SimulatedDisk::new(1);
        let mut journal = Journal::on(disk.clone(), options).unwrap();
        let record = |start: u64| {
            let mut data = BytesMut::new();
            Record { body: &[b'0' + u8::try_from(start).unwrap()], ..Record::default() }.encode(&mut data);
            let runs = vec![Run { kind: RunKind::Present, count: 1 }];
            let last_timestamp = Timestamp::ZERO;
            Row::Records(RecordsRow { topic: 1, start, last_timestamp, runs, data: data.freeze() })
        };
        let ops = (0..5).map(|start| Op::Put { row: record(start) }).collect();
        journal.commit_rows(&Commit { ticket: Ticket::FIRST, ops }).unwrap();
        let mut fetcher = journal.fetcher(disk);
        let mut fetch = |from, to| fetcher.fetch(&Fetch { topic: 1, from, to }).unwrap();
        let two = [record(1), record(2)].map(|row| row.data().to_vec()).concat();
        assert_eq!(fetch(1, 3), two);
        assert_eq!((fetch(0, 5).len(), fetch(5, 9).len()), (two.len() / 2 * 5, 0));
    }
}
