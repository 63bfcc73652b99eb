//! Stored rows: any key and value.

use zaichik_engine::store::Row;

/// Reads one row; the first byte is the length of its key.
///
/// # Panics
/// If a row that is read has another encoding than its own.
pub fn rows(data: &[u8]) {
    let Some((len, rest)) = data.split_first() else { return };
    let Some((key, value)) = rest.split_at_checked(usize::from(*len)) else { return };
    let Ok(row) = Row::decode(key, value) else { return };
    let (mut again, mut bytes) = (Vec::new(), Vec::new());
    row.key().encode(&mut again);
    row.encode(&mut bytes);
    assert_eq!((&again[..], &bytes[..]), (key, value), "there is one encoding");
}
