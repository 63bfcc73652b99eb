//! A broker of the model that ends, and is restored (chapter B).

use crate::model::broker::Model;
use crate::model::producer::Producers;

impl Model {
    /// All connections have ended, and the broker is restored: what ends after some time gets all of it again.
    pub(crate) fn restart(&mut self) {
        self.is_full = false;
        self.producers.forget(self.now, &self.bounds);
        self.count_again();
    }

    fn count_again(&mut self) {
        let now = self.now;
        self.producers.heard(now);
        self.subscriptions.iter_mut().for_each(|one| one.detach_again(now));
        self.groups.iter_mut().for_each(|one| one.restored(now));
    }

    /// The broker ended without a word, and is restored: no end of a connection is a failure, and what was delivered since
    /// it went back last does not count as an attempt (rule B2).
    pub(crate) fn recover(&mut self, now: u64) {
        self.producers.forget(self.now, &self.bounds);
        let now = self.now.max(now);
        // It did not run since then (rule B3).
        self.resumed(now - self.now);
        self.now = now;
        for one in self.subscriptions.iter_mut().filter(|one| one.holder.is_some()) {
            one.cut(now);
        }
        self.subscriptions.retain(|one| one.name.is_some());
        self.fenced.clear();
        self.notices.clear();
        self.newer.clear();
        self.appended.clear();
        self.is_full = false;
        self.count_again();
    }

    /// A broker that [recovers](Self::recover) is another instance, because later commits are lost (rule B7).
    pub(crate) fn become_another(&mut self) {
        self.producers = Producers::default();
        for one in &mut self.subscriptions {
            let end = self.topics.get(&one.topic).map_or(0, |topic| topic.end());
            one.next = one.next.min(end);
        }
        for one in &mut self.groups {
            one.become_another(self.topics.get(&one.topic).map_or(0, |topic| topic.end()));
        }
    }
}
