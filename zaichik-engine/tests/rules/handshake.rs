//! Chapter S: the handshake.

use zaichik_engine::{Broker, BrokerConfig, CloseReason, ConfigError, Seed, Status};
use zaichik_proto::{ClientFrame, FrameHeader, Hello, Limits, MAGIC};

use crate::world::{World, secs, us};

#[test]
fn handshake_accepts_magic_and_hello_in_any_pieces() {
    for piece in [1, 3, 4, 5, 1_000] {
        let mut world = World::new();
        let peer = world.dial();
        peer.split_reads(piece);
        peer.hello(b"");
        world.settle();
        assert_eq!(peer.control(), ["welcome"]);
        assert_eq!(world.status(&peer), Status::Open);
    }
}

#[test]
fn handshake_must_finish_within_five_seconds_in_total() {
    let mut world = World::new();
    let peer = world.dial();
    let hello = [&MAGIC[..], &[10, 0, 0, 0, 1, 0, 0, 0, 1, 0]].concat();
    for byte in hello.iter().take(4) {
        world.advance(secs(1));
        peer.send_bytes(&[*byte]);
    }
    world.advance(us(999_999));
    assert_eq!(world.status(&peer), Status::Handshake);
    world.advance(us(1));
    assert_eq!(peer.control(), ["fatal HandshakeTimeout"]);
    assert!(peer.is_closed());
    assert_eq!(world.reason(&peer), Some(CloseReason::HandshakeTimeout));
    assert_eq!(world.broker.session_count(), 0);
}

#[test]
fn handshake_may_finish_just_in_time() {
    let mut world = World::new();
    let peer = world.dial();
    world.advance(us(4_999_999));
    peer.hello(b"");
    world.settle();
    assert_eq!(peer.control(), ["welcome"]);
    world.advance(secs(60));
    assert_eq!(world.status(&peer), Status::Open);
}

#[test]
fn handshake_with_another_magic_gets_no_answer() {
    for bytes in [&b"G"[..], b"GET / HTTP/1.1\r\n\r\n", b"ZAI\x02", b"\x00", &[0xff; 5_000]] {
        let mut world = World::new();
        let peer = world.dial();
        peer.send_bytes(bytes);
        world.settle();
        assert!(peer.log().is_empty());
        assert!(peer.is_closed(), "{bytes:?}");
    }
}

#[test]
fn handshake_chooses_the_lower_version() {
    for (version, answer) in
        [(0, "fatal UnsupportedVersion"), (1, "welcome"), (2, "welcome"), (999, "welcome")]
    {
        let mut world = World::new();
        let peer = world.dial();
        peer.send_bytes(&MAGIC);
        peer.send(&ClientFrame::Hello(Hello { version, name: "", token: b"" }));
        world.settle();
        // The peer's decoder accepts only version 1 in a Welcome.
        assert_eq!(peer.control(), [answer]);
        assert_eq!(peer.is_closed(), version == 0);
    }
}

#[test]
fn handshake_requires_the_token_if_one_is_configured() {
    let secret = b"open sesame".to_vec();
    let wrong: [&[u8]; 12] = [
        b"",
        b"o",
        b"open",
        b"open sesam",
        b"pen sesame",
        b"open sesamf",
        b"Open sesame",
        b"open sesame!",
        b"open sesame\n",
        b"open sesame\0",
        b" open sesame",
        b"open sesameopen sesame",
    ];
    let longest = [&secret[..], &[b'x'; 1_013]].concat();
    let wrong = wrong.into_iter().chain([&longest[..]]).map(|token| (token, false));
    for (token, is_right) in wrong.chain([(&secret[..], true)]) {
        let mut world = World::with(|config| config.token = Some(secret.clone()));
        let peer = world.dial();
        peer.hello(token);
        world.settle();
        assert_eq!(peer.control(), [if is_right { "welcome" } else { "fatal Unauthorized" }]);
        assert_eq!(peer.is_closed(), !is_right);
    }
    let mut world = World::new();
    let peer = world.dial();
    peer.hello(b"whatever");
    world.settle();
    assert_eq!(peer.control(), ["welcome"], "a broker without a token ignores it");
}

#[test]
fn handshake_buffers_at_most_its_limit_of_bytes() {
    let mut world = World::new();
    let peer = world.dial();
    // A Hello with the largest body, which stays incomplete.
    peer.send_bytes(&MAGIC);
    peer.send_bytes(&FrameHeader { body_len: 4_096, kind: 1 }.to_bytes());
    peer.send_bytes(&[0; 4_095]);
    world.settle();
    assert_eq!(peer.unread(), 0);
    let session = world.session(&peer).unwrap();
    assert_eq!(session.status(), Status::Handshake);
    assert!(session.inbound().len() <= 4_096 + 12);
    peer.send_bytes(&[0; 1]);
    world.settle();
    assert!(peer.is_closed(), "the frame is complete now, and it is not a Hello");
}

#[test]
fn handshake_refuses_frames_above_the_limit_by_their_header() {
    let mut world = World::new();
    let peer = world.dial();
    peer.send_bytes(&MAGIC);
    peer.send_bytes(&FrameHeader { body_len: 4_097, kind: 1 }.to_bytes());
    world.settle();
    assert_eq!(peer.control(), ["fatal FrameTooLarge"]);
    assert!(peer.is_closed());
}

#[test]
fn handshake_must_come_first_and_only_once() {
    let early = [
        ClientFrame::Ping { nonce: 1 },
        ClientFrame::Close,
        ClientFrame::Extension { kind: 0x80, body: b"" },
    ];
    for frame in early {
        let mut world = World::new();
        let peer = world.dial();
        peer.send_bytes(&MAGIC);
        peer.send(&frame);
        world.settle();
        assert_eq!(peer.control(), ["fatal OutOfPhase"]);
        assert!(peer.is_closed());
    }
    let mut world = World::new();
    let peer = world.connect();
    peer.send(&ClientFrame::Hello(Hello { version: 1, name: "", token: b"" }));
    world.settle();
    assert_eq!(peer.control(), ["fatal OutOfPhase"]);
    assert!(peer.is_closed());
}

#[test]
fn requests_sent_right_after_hello_are_served() {
    let mut world = World::new();
    let peer = world.dial();
    peer.hello(b"");
    assert_eq!(world.ask(&peer, peer.publish("t", "a")), "@0 new");
}

#[test]
fn extensions_are_skipped() {
    let mut world = World::new();
    let peer = world.connect();
    peer.send(&ClientFrame::Extension { kind: 0x80, body: b"from the future" });
    peer.send(&ClientFrame::Extension { kind: 0xff, body: b"" });
    assert_eq!(world.ask(&peer, peer.publish("t", "a")), "@0 new");
}

#[test]
fn a_limit_of_zero_is_not_announced() {
    let zeros: [fn(&mut Limits) -> &mut u32; 4] = [
        |wire| &mut wire.max_message,
        |wire| &mut wire.max_window,
        |wire| &mut wire.max_window_size,
        |wire| &mut wire.max_subscriptions,
    ];
    for zero in zeros {
        let mut config = BrokerConfig::default();
        *zero(&mut config.wire) = 0;
        assert_eq!(Broker::new(config, Seed::new(1, 2)).err(), Some(ConfigError::ZeroLimit));
    }
}
