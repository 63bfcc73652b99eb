//! A connection without faults: it creates the topics, and reads every topic at the end.

use bytes::BytesMut;
use zaichik_proto::{ClientFrame, CreateTopic, Hello, MAGIC, PROTOCOL_VERSION};
use zaichik_testkit::{Sub, requests};

use super::World;
use super::link::Link;
use crate::sim::check::Verdict;

impl World {
    /// Creates the topics before anything else.
    pub(super) fn create_topics(&mut self) -> Verdict {
        let topics = self.plan.topics.clone();
        self.observe(|out| {
            for (request, topic) in (1..).zip(&topics) {
                if let Some(options) = topic.options {
                    let topic = topic.name.as_bytes();
                    ClientFrame::CreateTopic(CreateTopic { request, topic, options }).encode(out);
                }
            }
        })
    }

    /// Reads all live records, so that the checker compares them.
    pub(super) fn audit(&mut self) -> Verdict {
        let names = self.checker.topic_names();
        for name in &names {
            let subscribe = requests(|client| client.subscribe_to(Sub::new(1, name).window(0)));
            self.observe(|out| out.unsplit(subscribe))?;
        }
        Ok(())
    }

    /// A connection without faults: sends these requests, reads everything, and closes.
    pub(super) fn observe(&mut self, send: impl FnOnce(&mut BytesMut)) -> Verdict {
        let faults = std::mem::take(&mut self.plan.faults);
        (self.plan.faults.capacity, self.plan.faults.segment) = (1 << 30, 1_460);
        let mut bytes = BytesMut::from(&MAGIC[..]);
        ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, name: "observer", token: b"" })
            .encode(&mut bytes);
        self.observers += 1;
        let link = u64::MAX - self.observers;
        self.open(link, usize::MAX)?;
        let mut parts = vec![bytes, BytesMut::new(), BytesMut::new()];
        send(&mut parts[1]);
        ClientFrame::Close.encode(&mut parts[2]);
        for part in parts {
            if let Some(open) = self.links.get_mut(&link) {
                open.to_broker.write(self.now, part.freeze(), &self.plan.faults, &mut open.rng);
            }
            // It is served at once, before other events.
            let mut idle = 0;
            while idle < 3 && self.links.get(&link).is_some_and(|open| open.session.is_some()) {
                let before = (self.checker.deliveries, self.checker.requests);
                self.serve(link)?;
                self.flush_store()?;
                let open = self.links.get_mut(&link);
                let received = open.and_then(|open| open.to_client.read(self.now, usize::MAX));
                let moved = received.is_some() || before != (self.checker.deliveries, self.checker.requests);
                idle = if moved { 0 } else { idle + 1 };
            }
        }
        self.plan.faults = faults;
        if let Some(Link { session: Some(_), .. }) = self.links.get(&link) {
            self.drop_observer(link);
        }
        self.links.remove(&link);
        Ok(())
    }

    /// The broker does not read it, for lack of memory.
    pub(super) fn drop_observer(&mut self, link: u64) {
        if let Some(open) = self.links.get_mut(&link) {
            open.reset_at = Some(self.now);
        }
        let _ = self.serve(link);
    }
}
