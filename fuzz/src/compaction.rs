//! Compaction in `first` mode against a list of every key ever accepted (semantics C1 to C5, C9, R7).

use bytes::{BufMut, BytesMut};
use zaichik_engine::{Broker, BrokerConfig, Effects, Session, Timestamp, TopicSettings, Turn};
use zaichik_proto::{
    AckLevel, AlterTopic, ClientFrame, Hello, Limits, MAGIC, Publish, Record, Records, Refusal, RefusalCode,
    ServerDecoder, ServerFrame, TopicOptions,
};

use crate::choices::Choices;

/// Windows, in microseconds; the times between publishes are about as long.
const WINDOWS: [u64; 8] = [0, 1, 3, 5, 8, 13, 1_000_000, u64::MAX];

/// One topic, one connection: `data` says what is published, how time passes and which settings change.
///
/// # Panics
/// If the broker answers a publish in another way than the list says, or contradicts itself.
pub fn compaction(data: &[u8]) {
    let mut choices = Choices::new(data);
    let window = choices.one_of(&WINDOWS);
    let mut model = Model { now: 1_000, window, max_keys: 3, end: 0, keys: Vec::new() };
    let mut peer = Peer::new(&model);
    // Creates the topic.
    assert_eq!(peer.publish(&[None]), model.publish(&[None]));
    while !choices.is_empty() {
        let action = choices.byte();
        match action % 8 {
            0..=3 => {
                let keys: Vec<_> = (0..=action >> 3 & 3).map(|_| key(&mut choices)).collect();
                let expected = model.publish(&keys);
                assert_eq!(peer.publish(&keys), expected, "{keys:?} published to {model:?}");
            }
            4 => model.now += choices.below(16) as u64,
            5 => {
                model.change(choices.one_of(&WINDOWS), 1 + choices.below(4) as u64);
                let options = TopicOptions::new().max_messages(4 + choices.below(3) as u64);
                let mut options = options.max_keys(model.max_keys);
                options.compaction_window_micros = Some(model.window);
                options.retention_ttl_micros = Some(choices.one_of(&WINDOWS));
                peer.alter(&options);
            }
            6 => peer.housekeep(),
            _ => model.now += 1_000_000,
        }
        peer.now = Timestamp::from_micros(model.now);
        peer.broker.verify().unwrap();
    }
}

/// What a publish is answered: the first offset and the duplicates, or a refusal.
type Answer = Result<(Option<u64>, Vec<(u32, u64)>), Refusal>;

/// Every key that was ever accepted.
#[derive(Debug)]
struct Model {
    now: u64,
    window: u64,
    max_keys: u64,
    end: u64,
    keys: Vec<Accepted>,
}

#[derive(Debug, Clone)]
struct Accepted {
    key: Vec<u8>,
    at: u64,
    offset: u64,
    /// The smallest window in force since.
    window: u64,
}

impl Model {
    /// All of a publish, or none of it.
    fn publish(&mut self, keys: &[Option<Vec<u8>>]) -> Answer {
        let (mut all, mut end) = (self.keys.clone(), self.end);
        let mut duplicates = Vec::new();
        for (key, record) in keys.iter().zip(0..) {
            if let Some(key) = key.as_ref().filter(|_| self.window > 0) {
                let remembered: Vec<_> = all.iter().filter(|one| self.now - one.at < one.window).collect();
                if let Some(original) = remembered.iter().find(|one| one.key == *key) {
                    duplicates.push((record, original.offset));
                    continue;
                }
                if remembered.len() as u64 >= self.max_keys {
                    return Err(Refusal::with_value(RefusalCode::KeysFull, self.max_keys));
                }
                all.push(Accepted { key: key.clone(), at: self.now, offset: end, window: self.window });
            }
            end += 1;
        }
        let first = (end > self.end).then_some(self.end);
        (self.keys, self.end) = (all, end);
        Ok((first, duplicates))
    }

    fn change(&mut self, window: u64, max_keys: u64) {
        (self.window, self.max_keys) = (window, max_keys);
        for one in &mut self.keys {
            one.window = one.window.min(window);
        }
    }
}

/// A broker with one topic and one connection, driven with bytes.
struct Peer {
    broker: Broker,
    session: Session,
    effects: Effects,
    decoder: ServerDecoder,
    now: Timestamp,
}

impl Peer {
    fn new(model: &Model) -> Self {
        let mut config = BrokerConfig::new(1, 2);
        config.topic_defaults = TopicSettings {
            compaction_window_micros: model.window,
            max_keys: model.max_keys,
            max_messages: 4,
            ..TopicSettings::default()
        };
        let mut broker = Broker::new(config).unwrap();
        let (mut effects, now) = (Effects::new(), Timestamp::from_micros(model.now));
        let mut session = broker.accept(now, &mut effects);
        session.inbound().put_slice(&MAGIC);
        let decoder = ServerDecoder::handshake(&Limits::default());
        let mut peer = Self { broker, session, effects, decoder, now };
        let hello = ClientFrame::Hello(Hello { version: 1, name: "", token: b"" });
        peer.ask(&hello, |frame| assert!(matches!(frame, ServerFrame::Welcome(_))));
        peer.decoder.open(&Limits::default());
        peer
    }

    fn publish(&mut self, keys: &[Option<Vec<u8>>]) -> Answer {
        let mut bytes = Vec::new();
        for key in keys {
            Record { key: key.as_deref(), ..Record::default() }.encode(&mut bytes);
        }
        let records = Records::from_encoded(u32::try_from(keys.len()).unwrap(), &bytes);
        let (topic, ack) = (&b"t"[..], AckLevel::Accepted);
        let publish = Publish { request: 1, ack, producer: None, topic, records };
        let mut answer = None;
        self.ask(&ClientFrame::Publish(publish), |frame| answer = Some(read(frame)));
        answer.unwrap()
    }

    fn alter(&mut self, options: &TopicOptions) {
        let alter = AlterTopic { request: 1, topic: b"t", options: *options };
        self.ask(&ClientFrame::AlterTopic(alter), |frame| assert!(matches!(frame, ServerFrame::Done(_))));
    }

    fn housekeep(&mut self) {
        while self.broker.handle_timeout(self.now, &mut self.effects) == Turn::More {}
        self.effects.clear();
    }

    /// Sends a frame and reads the one that comes back.
    fn ask(&mut self, frame: &ClientFrame<'_>, mut read: impl FnMut(&ServerFrame<'_>)) {
        frame.encode(self.session.inbound());
        self.session.handle_read(self.now);
        while self.session.exchange(self.now, &mut self.broker, &mut self.effects) == Turn::More {}
        self.effects.clear();
        let mut bytes = BytesMut::new();
        bytes.put(self.session.outbound());
        let (frame, taken) = self.decoder.decode(&bytes).unwrap().unwrap();
        assert_eq!(taken, bytes.len(), "one answer for one request");
        read(&frame);
    }
}

fn read(frame: &ServerFrame<'_>) -> Answer {
    if let ServerFrame::Acks(acks) = frame {
        return Ok((acks.runs.iter().next().map(|run| run.first_offset), Vec::new()));
    }
    if let ServerFrame::Published(published) = frame {
        let duplicates = published.duplicates.iter().map(|one| (one.record, one.offset));
        return Ok((published.first_offset, duplicates.collect()));
    }
    let ServerFrame::Refused(refused) = frame else { panic!("{frame:?} answers no publish") };
    Err(refused.refusal)
}

/// No key, the empty key, or one of a few.
fn key(choices: &mut Choices<'_>) -> Option<Vec<u8>> {
    match choices.below(7) {
        0 => None,
        len => Some(vec![b'k'; len - 1]),
    }
}
