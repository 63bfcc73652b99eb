//! The numbers that the broker gave to matched topics on one connection (rule W3).

use std::collections::BTreeMap;

use zaichik_proto::SubscribePattern;

use crate::answer::SubscriptionId;
use crate::error::Violation;

/// Numbers in use, and those that were: each is used once on a connection.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    used: BTreeMap<u32, Receiver>,
    /// Ranges of numbers whose subscriptions have ended: the first of each, and its last. As the broker has no reason to
    /// leave numbers out, there are hardly more of them than of those in use.
    ended: BTreeMap<u32, u32>,
}

/// What frames under a number are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiver {
    Subscription(SubscriptionId),
    /// The application does not want the topic any more.
    Nobody,
}

impl Aliases {
    /// Whether the broker chose this number.
    pub(super) const fn is_alias(number: u32) -> bool {
        number >= SubscribePattern::FIRST_ALIAS
    }

    /// The broker may give this number to a topic.
    pub(super) fn check(&self, alias: u32) -> Result<(), Violation> {
        let before = self.ended.range(..=alias).next_back();
        let has_ended = before.is_some_and(|(_, last)| alias <= *last);
        if !Self::is_alias(alias) || has_ended || self.used.contains_key(&alias) {
            return Err(Violation::Alias { alias });
        }
        Ok(())
    }

    /// Frames under a number are for `receiver`.
    pub(super) fn set(&mut self, alias: u32, receiver: Receiver) {
        self.used.insert(alias, receiver);
    }

    pub(super) fn get(&self, alias: u32) -> Option<Receiver> {
        self.used.get(&alias).copied()
    }

    /// No frame carries this number any more.
    pub(super) fn end(&mut self, alias: u32) {
        if self.used.remove(&alias).is_none() {
            return;
        }
        let (mut first, mut last) = (alias, alias);
        if let Some((before, _)) =
            self.ended.range(..alias).next_back().filter(|(_, last)| last.checked_add(1) == Some(alias))
        {
            first = *before;
        }
        if let Some(after) = alias.checked_add(1).and_then(|next| self.ended.remove(&next)) {
            last = after;
        }
        self.ended.insert(first, last);
    }

    /// Another connection begins, which has numbers of its own.
    pub(super) fn clear(&mut self) {
        self.used.clear();
        self.ended.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u32 = SubscribePattern::FIRST_ALIAS;

    #[test]
    fn w3_a_number_is_used_once_on_a_connection() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.check(FIRST - 1), Err(Violation::Alias { alias: FIRST - 1 }));
        for alias in [FIRST, FIRST + 2, FIRST + 1, u32::MAX] {
            assert_eq!(aliases.check(alias), Ok(()));
            aliases.set(alias, Receiver::Nobody);
            assert!(aliases.check(alias).is_err());
        }
        for alias in [FIRST + 2, FIRST, u32::MAX, FIRST + 1, FIRST + 7] {
            aliases.end(alias);
        }
        let used = [FIRST, FIRST + 1, FIRST + 2, u32::MAX];
        assert!(used.iter().all(|alias| aliases.check(*alias).is_err() && aliases.get(*alias).is_none()));
        assert_eq!(aliases.ended, BTreeMap::from([(FIRST, FIRST + 2), (u32::MAX, u32::MAX)]));
        assert!(aliases.check(FIRST + 3).is_ok() && aliases.check(FIRST + 7).is_ok());
        aliases.clear();
        assert_eq!(aliases.check(FIRST), Ok(()));
    }
}
