//! Faults that a broker command must survive: slow clients, SIGTERM under load, and SIGSTOP.

use std::collections::BTreeSet;

use bytes::{Buf, BytesMut};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zaichik_proto::{ClientFrame, Hello, Limits, MAGIC, ServerDecoder, ServerFrame, Version};
use zaichik_tokio::{Client, ClientError, Event, LinkError};

use crate::messages::next_message;
use crate::process::{Broker, command};
use crate::script;

/// Connections that never complete their handshake.
const SLOW_PEERS: usize = 500;

/// Rounds in which each of them sends one byte.
const ROUNDS: usize = 16;

/// Clients that are publishing when the broker receives SIGTERM.
const WRITERS: u64 = 8;

/// 500 connections send their handshake byte by byte; well-behaved clients are served meanwhile.
pub fn s1_five_hundred_slow_handshakes_do_not_keep_clients_out(path: &str) {
    let broker = Broker::start(path);
    let address = broker.address();
    script::block_on(async {
        let slow = join_all((0..SLOW_PEERS).map(|_| TcpStream::connect(&address))).await;
        let mut slow: Vec<_> = slow.into_iter().map(|peer| peer.expect("the kernel accepts")).collect();
        // Magic, and the header of a Hello that is longer than the bytes that follow.
        let bytes = [&MAGIC[..], &[0xff, 0x0f, 0, 0, 1, 0, 0, 0], &[0; 32]].concat();
        for byte in bytes.chunks(1).take(ROUNDS) {
            for peer in &mut slow {
                // The broker may have closed it by now.
                drop(peer.write_all(byte).await);
            }
            let honest = Client::connect(&address).await.expect("the broker has room");
            let receipt = honest.publish("honest", "served").await.expect("accepted");
            assert!(receipt.offset(0).is_some());
            honest.close().await.expect("the client has no unfinished work");
        }
    });
    broker.signal("TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0), "{log}");
}

/// SIGTERM under load: every acknowledged message was delivered before the end, and no other was accepted.
pub fn s5_sigterm_under_load_accounts_for_every_publish(path: &str) {
    let mut broker = Broker::start(path);
    let address = broker.address();
    script::block_on(async {
        let connect = || Client::builder(&address).reconnect(false).connect();
        let reader = connect().await.expect("the broker listens");
        let mut subscription = reader.subscribe("load").window(0).await.expect("subscribed");
        let reading = tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            while let Some(Ok(Event::Message(message))) = futures::StreamExt::next(&mut subscription).await {
                assert!(seen.insert(message.body.to_vec()), "each message is delivered once");
            }
            seen
        });
        let mut writing = Vec::new();
        for writer in 0..WRITERS {
            let client = connect().await.expect("the broker listens");
            writing.push(tokio::spawn(write_until_the_end(client, writer)));
        }
        // Every writer has published before the signal.
        for writer in 0..WRITERS {
            let first = connect().await.expect("the broker listens");
            let mut own = first.subscribe(&format!("started {writer}")).await.expect("subscribed");
            next_message(&mut own).await.commit().await.expect("committed");
            first.close().await.expect("the client has no unfinished work");
        }
        broker.signal("TERM");
        broker.wait_for_log("draining");
        let acknowledged = join_all(writing).await;
        let acknowledged: BTreeSet<_> =
            acknowledged.into_iter().flat_map(|one| one.expect("no panic")).collect();
        let seen = reading.await.expect("no panic");
        assert!(acknowledged.len() > 100, "{}", acknowledged.len());
        let lost: Vec<_> = acknowledged.difference(&seen).collect();
        assert!(lost.is_empty(), "{} messages were acknowledged but not delivered", lost.len());
        let unanswered: Vec<_> = seen.difference(&acknowledged).collect();
        assert!(unanswered.is_empty(), "{} messages were accepted but not acknowledged", unanswered.len());
    });
    let (code, log) = broker.end();
    assert_eq!(code, Some(0), "{log}");
}

/// Publishes with several messages in flight until the broker refuses more; returns the acknowledged ones.
async fn write_until_the_end(client: Client, writer: u64) -> Vec<Vec<u8>> {
    let mut acknowledged = Vec::new();
    for round in 0u64.. {
        let bodies: Vec<_> = (0..16).map(|number| format!("{writer} {round} {number}")).collect();
        let publish = |body: &String| client.publish("load", body.clone());
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

/// A broker that was stopped for longer than three heartbeats keeps a peer that answers its Ping.
pub fn s4_a_stopped_broker_drops_no_peer_that_answers_its_ping(path: &str) {
    let broker = Broker::run(command(path, 0).env("ZAICHIK_LIMITS_HEARTBEAT", "1s"));
    let address = broker.address();
    script::block_on(async {
        let mut peer = Peer::connect(&address).await;
        // The client measures the broker's silence; it began after the peer was heard for the last time.
        let client = Client::builder(&address).reconnect(false).connect().await.expect("the broker listens");
        broker.signal("STOP");
        let silence = loop {
            if let Err(error) = client.ping().await
                && let ClientError::Ended(reason) = error
            {
                break reason;
            }
        };
        assert_eq!(silence, LinkError::HeartbeatMissed);
        broker.signal("CONT");
        loop {
            match peer.next().await {
                Heard::Ping(nonce) => {
                    peer.send(&ClientFrame::Pong { nonce }).await;
                    peer.send(&ClientFrame::Ping { nonce: 7 }).await;
                }
                Heard::Pong => break,
                Heard::Other(frame) => panic!("{frame}"),
            }
        }
    });
    broker.signal("TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0), "{log}");
}

/// A connection without a client, so that nothing but the test decides when it gives up.
struct Peer {
    stream: TcpStream,
    received: BytesMut,
    decoder: ServerDecoder,
}

/// A frame that a peer received.
enum Heard {
    Ping(u64),
    Pong,
    Other(String),
}

impl Peer {
    /// A connection whose handshake is done.
    async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the kernel accepts");
        let decoder = ServerDecoder::handshake(&Limits::default());
        let mut peer = Self { stream, received: BytesMut::new(), decoder };
        peer.stream.write_all(&MAGIC).await.expect("the broker reads");
        peer.send(&ClientFrame::Hello(Hello { version: 1, name: "peer", token: b"" })).await;
        let Heard::Other(_) = peer.next().await else { panic!("no Welcome") };
        peer.decoder.open(Version::One, &Limits::default());
        peer
    }

    async fn send(&mut self, frame: &ClientFrame<'_>) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).await.expect("the broker reads");
    }

    async fn next(&mut self) -> Heard {
        loop {
            if let Some((frame, taken)) = self.decoder.decode(&self.received).expect("a frame") {
                let heard = if let ServerFrame::Ping { nonce } = frame {
                    Heard::Ping(nonce)
                } else if matches!(frame, ServerFrame::Pong { .. }) {
                    Heard::Pong
                } else {
                    Heard::Other(format!("{frame:?}"))
                };
                self.received.advance(taken);
                return heard;
            }
            let read = self.stream.read_buf(&mut self.received).await.expect("an open connection");
            assert_ne!(read, 0, "the broker closed the connection");
        }
    }
}
