//! Reads records back beside the commits of a journal.

use bytes::Bytes;
use zaichik_engine::store::{Fetch, RecordsRow};

use crate::disk::Disk;
use crate::error::{Damage, StoreError};
use crate::files::Files;
use crate::index::{Key, Place};
use crate::planted::{Defect, is_planted};
use crate::reader::Reader;
use crate::recovery::corrupt;
use crate::shared_index::SharedIndex;

/// Reads records of a journal back, on any thread, while the journal's own goes on. Memory: what it reads ahead, up to
/// 1 MiB.
#[derive(Debug)]
pub struct Fetcher<D = Files> {
    disk: D,
    index: SharedIndex,
    reader: Reader,
}

impl<D: Disk> Fetcher<D> {
    pub(crate) fn new(disk: D, index: SharedIndex) -> Self {
        Self { disk, index, reader: Reader::default() }
    }

    /// Reads records back for a broker: those of the rows that begin in the range, one after the other. Rows that commits
    /// remove meanwhile are all there, or some are missing. Cost: proportional to the bytes of the records, which are read
    /// in pieces of up to 1 MiB.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if a row does not have its checksum, or is too short; [`StoreError::Failed`] if it cannot be
    /// read.
    pub fn fetch(&mut self, fetch: &Fetch) -> Result<Bytes, StoreError> {
        let mut rows = self.rows(fetch);
        loop {
            let read = self.read(&rows);
            let Err(error) = read else { return read };
            // A row may have been moved or removed since, and then its segment.
            let now = self.rows(fetch);
            if now == rows || is_planted(Defect::MovedRowIsLost) {
                return Err(error);
            }
            rows = now;
        }
    }

    /// The rows that begin in the range.
    fn rows(&self, fetch: &Fetch) -> Vec<(Key, Place)> {
        self.index.read().records(fetch.topic, fetch.from, fetch.to).collect()
    }

    fn read(&mut self, rows: &[(Key, Place)]) -> Result<Bytes, StoreError> {
        let bytes = rows.iter().fold(0_usize, |sum, (_, place)| sum.saturating_add(place.len as usize));
        let mut records = Vec::with_capacity(bytes);
        for (key, place) in rows {
            let value = self.reader.row(&mut self.disk, key.as_slice(), *place)?;
            let data = RecordsRow::data_of(value);
            let malformed = || corrupt(u64::from(place.segment), u64::from(place.at), Damage::Malformed);
            records.extend_from_slice(data.ok_or_else(malformed)?);
        }
        // The broker accounts for the records, so nothing else is kept with them.
        Ok(records.into_boxed_slice().into())
    }
}
