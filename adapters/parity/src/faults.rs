//! What a broker command must stand: peers that are slow, and the end under load.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use zaichik_proto::MAGIC;
use zaichik_tokio::{Client, Incoming, PublishOptions};

use crate::process::Broker;
use crate::script;

/// Peers that never finish their handshake.
const SLOW_PEERS: usize = 500;

/// Rounds in which each of them sends a byte.
const ROUNDS: usize = 16;

/// Who publishes when the broker is asked to stop.
const WRITERS: u64 = 8;

/// Half a thousand peers that send their handshake byte by byte, beside an honest one that is served every time.
pub fn w8_five_hundred_slow_handshakes_keep_nobody_out(path: &str) {
    let broker = Broker::start(path);
    let address = broker.address();
    script::block_on(async {
        let slow = join_all((0..SLOW_PEERS).map(|_| TcpStream::connect(&address))).await;
        let mut slow: Vec<_> = slow.into_iter().map(|peer| peer.expect("the kernel accepts")).collect();
        // Magic, and the header of a Hello that announces more than ever comes.
        let bytes = [&MAGIC[..], &[0xff, 0x0f, 0, 0, 1, 0, 0, 0], &[0; 32]].concat();
        for byte in bytes.chunks(1).take(ROUNDS) {
            for peer in &mut slow {
                // The broker may have given it up by now.
                drop(peer.write_all(byte).await);
            }
            let honest = Client::connect(&address).await.expect("there is room");
            let receipt = honest.publish("honest", "served").await.expect("accepted");
            assert!(receipt.offset(0).is_some());
            honest.close().await.expect("it owes nothing");
        }
    });
    broker.signal("TERM");
    let (code, said) = broker.end();
    assert_eq!(code, Some(0), "{said}");
}

/// SIGTERM under load: what was acknowledged was readable before the end, and nothing else was accepted.
pub fn b17_sigterm_under_load_accounts_for_every_publish(path: &str) {
    let mut broker = Broker::start(path);
    let address = broker.address();
    script::block_on(async {
        let connect = || Client::builder(&address).reconnect(false).connect();
        let reader = connect().await.expect("the broker listens");
        let mut subscription = reader.subscribe("load").window(0).await.expect("subscribed");
        let reading = tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            while let Some(Ok(Incoming::Message(message))) = futures::StreamExt::next(&mut subscription).await
            {
                assert!(seen.insert(message.body.to_vec()), "once");
            }
            seen
        });
        let mut writing = Vec::new();
        for writer in 0..WRITERS {
            let client = connect().await.expect("the broker listens");
            writing.push(tokio::spawn(write_until_the_end(client, writer)));
        }
        // Everybody has something in the log before the signal.
        for writer in 0..WRITERS {
            let first = connect().await.expect("the broker listens");
            let mut own = first.subscribe(&format!("started {writer}")).await.expect("subscribed");
            own.next_message().await.expect("no gap").expect("a message").commit().await.expect("committed");
            first.close().await.expect("it owes nothing");
        }
        broker.signal("TERM");
        broker.says("draining");
        let acknowledged = join_all(writing).await;
        let acknowledged: BTreeSet<_> =
            acknowledged.into_iter().flat_map(|one| one.expect("no panic")).collect();
        let seen = reading.await.expect("no panic");
        assert!(acknowledged.len() > 100, "{}", acknowledged.len());
        let lost: Vec<_> = acknowledged.difference(&seen).collect();
        assert!(lost.is_empty(), "{} were acknowledged and not delivered", lost.len());
        let unanswered: Vec<_> = seen.difference(&acknowledged).collect();
        assert!(unanswered.is_empty(), "{} were accepted without an answer", unanswered.len());
    });
    let (code, said) = broker.end();
    assert_eq!(code, Some(0), "{said}");
}

/// Publishes with several messages under way until the broker takes no more; what it acknowledged.
async fn write_until_the_end(client: Client, writer: u64) -> Vec<Vec<u8>> {
    let mut acknowledged = Vec::new();
    let options = PublishOptions::new().deadline(Duration::from_secs(30));
    for round in 0u64.. {
        let bodies: Vec<_> = (0..16).map(|number| format!("{writer} {round} {number}")).collect();
        let publish = |body: &String| {
            let (client, message) = (client.clone(), [body.clone().into()]);
            async move { client.publish_with("load", &message, options).await }
        };
        let answers = join_all(bodies.iter().map(publish)).await;
        let is_over = answers.iter().any(Result::is_err);
        let accepted = bodies.into_iter().zip(answers).filter(|(_, answer)| answer.is_ok());
        acknowledged.extend(accepted.map(|(body, _)| body.into_bytes()));
        if is_over {
            break;
        }
        if round == 8 {
            client
                .create_topic(
                    &format!("started {writer}"),
                    zaichik_tokio::TopicOptions::new().retain_forever(),
                )
                .await
                .expect("created");
            client.publish(&format!("started {writer}"), "yes").await.expect("accepted");
        }
    }
    acknowledged
}
