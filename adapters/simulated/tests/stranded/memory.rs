//! A run with a broker that is short of memory until a subscription that keeps records ends.

use std::rc::Rc;

use zaichik_simulated::{BrokerConfig, EmbeddedBroker};
use zaichik_testkit::Sub;

use crate::peer::Peer;
use crate::program::{LARGE, Seen, TOPIC, below, record, settle, yield_some};

/// Memory of the broker, in bytes.
const MEMORY: u64 = 2 << 20;

/// Large records that each publisher sends.
const RECORDS: u64 = 400;

pub(crate) async fn run() -> Result<Seen, String> {
    let mut config = BrokerConfig::default();
    config.memory = MEMORY;
    config.wire.max_message = 8 << 10;
    config.wire.max_frame = 16 << 10;
    let broker = EmbeddedBroker::start(config).expect("a valid configuration");
    let open = || {
        let peer = Peer::open(broker.stream().expect("it runs"));
        peer.hello();
        peer
    };
    // The records are kept for it, because it never commits.
    let keeper = open();
    keeper.request(|raw| raw.subscribe_to(Sub::new(1, TOPIC).window(1)));
    settle().await;
    let publishers: Vec<Rc<Peer>> = (0..=below(3)).map(|_| open()).collect();
    for _ in 0..RECORDS {
        for publisher in &publishers {
            publisher.request(|raw| raw.publish_all(TOPIC, &[record(&[b'm'; LARGE])]));
        }
        yield_some().await;
    }
    settle().await;
    let mut seen = Seen::default();
    seen.throttled += publishers.iter().filter(|publisher| publisher.waits_for(0).is_some()).count() as u64;
    keeper.close();
    settle().await;
    for (number, publisher) in publishers.iter().enumerate() {
        if let Some(missing) = publisher.waits_for(0) {
            return Err(format!("publisher {number} sleeps and lacks {missing}"));
        }
        seen.answers += publisher.answers.get();
        publisher.close();
    }
    Ok(seen)
}
