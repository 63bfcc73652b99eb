//! Whether two inputs begin with the same messages.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

/// A hash over messages, in their order. It is stored in the broker, so it must not change: see the test.
#[derive(Clone)]
pub(super) struct Fingerprint(SipHasher24);

impl Fingerprint {
    /// The fingerprint of no messages, with the headers that all of them will have.
    pub(super) fn new(headers: &[(String, String)]) -> Self {
        let mut fingerprint = Self(SipHasher24::new_with_keys(0x7a61_6963_6869_6b20, 0x696e_7075_7420_3120));
        for (name, value) in headers {
            fingerprint.field(Some(name.as_bytes()));
            fingerprint.field(Some(value.as_bytes()));
        }
        fingerprint.field(None);
        fingerprint
    }

    /// Adds a message; one without a body is a tombstone.
    pub(super) fn add(&mut self, key: Option<&[u8]>, body: Option<&[u8]>) {
        self.field(key);
        self.field(body);
    }

    /// A length before the bytes keeps `ab`, `c` and `a`, `bc` apart.
    fn field(&mut self, bytes: Option<&[u8]>) {
        let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
        self.0.write(&length.to_le_bytes());
        self.0.write(bytes.unwrap_or_default());
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.finish128().as_u128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(messages: &[(Option<&str>, Option<&str>)]) -> String {
        let mut fingerprint = Fingerprint::new(&[]);
        for (key, body) in messages {
            fingerprint.add(key.map(str::as_bytes), body.map(str::as_bytes));
        }
        fingerprint.to_string()
    }

    #[test]
    fn a_fingerprint_never_changes() {
        assert_eq!(of(&[(None, Some("a")), (Some("k"), None)]), "142fcdbdaadad4a97d6e038257db2edb");
    }

    #[test]
    fn other_messages_have_another_fingerprint() {
        let all = [
            of(&[]),
            of(&[(None, Some(""))]),
            of(&[(None, None)]),
            of(&[(Some(""), Some(""))]),
            of(&[(None, Some("ab")), (None, Some("c"))]),
            of(&[(None, Some("a")), (None, Some("bc"))]),
            of(&[(None, Some("c")), (None, Some("ab"))]),
            of(&[(Some("ab"), Some("c"))]),
            Fingerprint::new(&[("a".to_owned(), "b".to_owned())]).to_string(),
            Fingerprint::new(&[("ab".to_owned(), String::new())]).to_string(),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
