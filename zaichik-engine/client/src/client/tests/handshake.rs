//! Opening a connection, keeping it alive, and being refused by a broker.

use core::time::Duration;

use bytes::{Buf, BytesMut};
use zaichik_proto::{ClientFrame, FaultCode, Limits, ProtocolFault, ServerFrame, Welcome};

use super::peer::Peer;
use super::sent::Sent;
use crate::{Client, ClientConfig, ErrorClass, Link, LinkError, RequestError, Violation};
use zaichik_proto::Timestamp;

#[test]
fn the_handshake_sends_name_and_token_and_returns_limits_and_instance() {
    let mut config = ClientConfig::new(1);
    config.name = "test".into();
    config.token = b"secret".to_vec();
    assert!(!format!("{config:?}").contains("secret"));
    let mut peer = Peer::new(config);
    assert_eq!(peer.client.link(), Link::Connect { at: Timestamp::ZERO });
    assert!(!peer.client.wants_read());
    peer.limits.max_window = 3;
    peer.connect_only();
    assert_eq!(peer.client.link(), Link::Handshake);
    assert_eq!(peer.sent_one(), Sent::Hello { name: "test".into(), token: b"secret".to_vec() });
    peer.welcome(77);
    assert_eq!(peer.client.link(), Link::Open);
    assert_eq!(peer.client.instance(), Some(77));
    assert_eq!(peer.client.limits().max_window, 3);
}

#[test]
fn s_03_frames_split_at_every_byte_have_the_same_effect() {
    let mut wire = BytesMut::new();
    let welcome =
        Welcome { version: 1, instance: 5, limits: Limits::default(), capabilities: 0, server: "scripted" };
    ServerFrame::Welcome(welcome).encode(&mut wire);
    ServerFrame::Ping { nonce: 9 }.encode(&mut wire);
    let extension = ServerFrame::Extension { kind: 0x90, body: b"from later" };
    extension.encode(&mut wire);
    for cut in 0..=wire.len() {
        let mut peer = Peer::new(ClientConfig::new(1));
        peer.connect_only();
        for part in [&wire[..cut], &wire[cut..]] {
            peer.client.inbound().extend_from_slice(part);
            peer.client.handle_read(peer.now);
            peer.client.handle_read(peer.now);
        }
        assert_eq!(peer.client.instance(), Some(5), "cut at {cut}");
        assert!(peer.client.inbound().is_empty());
        assert_eq!(peer.sent().last(), Some(&Sent::Pong(9)));
    }
}

#[test]
fn a_silent_broker_misses_the_handshake_deadline() {
    let mut peer = Peer::new(ClientConfig::new(1));
    peer.connect_only();
    let deadline = peer.now + Duration::from_secs(5);
    assert_eq!(peer.client.next_timeout(), Some(deadline));
    peer.client.handle_timeout(Timestamp::from_micros(deadline.as_micros() - 1));
    assert_eq!(peer.client.link(), Link::Handshake);
    peer.client.handle_timeout(deadline);
    assert_eq!(peer.client.link(), Link::Closed(Some(LinkError::HandshakeTimeout)));
}

#[test]
fn a_refused_token_is_final_and_fails_the_requests() {
    let mut peer = Peer::new(ClientConfig::new(1));
    let id = peer.publish("t", b"never sent").unwrap();
    peer.connect_only();
    peer.fatal(FaultCode::Unauthorized);
    let Link::Closed(Some(error @ LinkError::Fatal { .. })) = peer.client.link() else {
        panic!("{:?}", peer.client.link());
    };
    assert_eq!(error.to_string(), "the broker ended the connection: Unauthorized: scripted");
    assert_eq!(peer.answer_to(id), Err(RequestError::Closed));
    let after = peer.publish("t", b"late").unwrap_err();
    assert_eq!(after.class(), ErrorClass::Fatal);
    peer.client.handle_connected(peer.now);
    assert!(matches!(peer.client.link(), Link::Closed(_)));
    assert_eq!(peer.client.next_timeout(), None);
}

#[test]
fn fatal_codes_are_final_or_lead_to_a_reconnect() {
    let back = [
        FaultCode::ServerFull,
        FaultCode::Stopped,
        FaultCode::Internal,
        FaultCode::HandshakeTimeout,
        FaultCode::HeartbeatMissed,
        FaultCode::SlowConsumer,
        FaultCode::SlowProducer,
        FaultCode::MemoryNeeded,
        FaultCode::Unknown(99),
    ];
    for code in FaultCode::ALL.iter().copied().chain([FaultCode::Unknown(99), FaultCode::Unknown(31)]) {
        let mut config = ClientConfig::new(1);
        config.retry_first_connect = true;
        let mut peer = Peer::new(config);
        peer.connect_only();
        peer.fatal(code);
        let comes_back = matches!(peer.client.link(), Link::Connect { at } if at > peer.now);
        assert_eq!(comes_back, back.contains(&code), "{code}");
        assert!(comes_back || matches!(peer.client.link(), Link::Closed(Some(_))), "{code}");
    }
}

#[test]
fn the_first_connection_fails_at_once_unless_configured_otherwise() {
    let mut peer = Peer::new(ClientConfig::new(1));
    peer.disconnect();
    assert_eq!(peer.client.link(), Link::Closed(Some(LinkError::ConnectFailed)));

    let mut config = ClientConfig::new(1);
    config.retry_first_connect = true;
    let mut peer = Peer::new(config);
    let mut last = Duration::ZERO;
    for _ in 0..12 {
        peer.disconnect();
        let Link::Connect { at } = peer.client.link() else {
            panic!("{:?}", peer.client.link());
        };
        last = at.since(peer.now);
        assert!(last >= Duration::from_millis(50) && last <= Duration::from_millis(7_500));
        // Reporting the stream that the driver dropped has no effect.
        peer.disconnect();
        assert_eq!(peer.client.link(), Link::Connect { at });
        peer.now = at;
    }
    assert!(last >= Duration::from_secs(5));
    assert_eq!(peer.client.last_error(), Some(&LinkError::ConnectFailed));
}

#[test]
fn a_version_that_was_not_offered_is_a_violation() {
    let mut peer = Peer::new(ClientConfig::new(1));
    peer.connect_only();
    let welcome =
        Welcome { version: 3, instance: 5, limits: Limits::default(), capabilities: 0, server: "newer" };
    peer.send(&ServerFrame::Welcome(welcome));
    let error = LinkError::Violation(Violation::Version { got: 3 });
    assert_eq!(peer.client.link(), Link::Closed(Some(error)));
}

#[test]
fn s_04_garbage_and_wrong_direction_end_the_client_with_a_typed_error() {
    type Expected = fn(&ProtocolFault) -> bool;
    let mut backwards = BytesMut::new();
    ClientFrame::Close.encode(&mut backwards);
    let cases: [(&[u8], Expected); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n", |fault| {
            matches!(fault, ProtocolFault::ReservedBits { .. } | ProtocolFault::UnknownKind { .. })
        }),
        (&backwards, |fault| matches!(fault, ProtocolFault::WrongDirection { .. })),
        (&[0xff, 0xff, 0xff, 0xff, 0x4b, 0, 0, 0], |fault| {
            matches!(fault, ProtocolFault::FrameTooLarge { .. })
        }),
    ];
    for (bytes, expected) in cases {
        let mut peer = Peer::open();
        peer.client.inbound().extend_from_slice(bytes);
        peer.client.handle_read(peer.now);
        match peer.client.link() {
            Link::Closed(Some(LinkError::Protocol(error))) => assert!(expected(&error.fault), "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(!peer.client.outbound().has_remaining());
    }
}

#[test]
fn s4_a_silent_broker_is_pinged_and_disconnected_after_three_heartbeats() {
    let mut peer = Peer::open();
    let opened = peer.now;
    peer.advance(Duration::from_millis(29_999));
    assert!(peer.sent().is_empty());
    peer.advance(Duration::from_millis(1));
    assert_eq!(peer.sent(), [Sent::Ping(0)]);
    peer.send(&ServerFrame::Pong { nonce: 0 });
    let heard = peer.now;
    peer.advance(Duration::from_millis(89_999));
    assert_eq!(peer.client.link(), Link::Open);
    assert_eq!(peer.sent(), [Sent::Ping(0), Sent::Ping(0)]);
    peer.advance(Duration::from_millis(1));
    assert!(matches!(peer.client.link(), Link::Connect { .. }));
    assert_eq!(peer.client.last_error(), Some(&LinkError::HeartbeatMissed));
    assert!(heard > opened);
}

#[test]
fn s4_a_late_timeout_counts_the_whole_silence_but_pings_first() {
    for (seconds, pings) in [(31, 1), (61, 1), (89, 1)] {
        let mut peer = Peer::open();
        peer.now = peer.now + Duration::from_secs(seconds);
        peer.client.handle_timeout(peer.now);
        peer.client.handle_timeout(peer.now);
        assert_eq!(peer.sent().len(), pings, "{seconds}");
    }
    let mut peer = Peer::open();
    peer.now = peer.now + Duration::from_hours(1);
    peer.client.handle_timeout(peer.now);
    assert_eq!((peer.sent().len(), peer.client.last_error()), (1, None), "the broker had no ping to answer");
    peer.now = peer.now + Duration::from_secs(30);
    peer.client.handle_timeout(peer.now);
    assert_eq!(peer.client.last_error(), Some(&LinkError::HeartbeatMissed));
}

#[test]
fn time_does_not_move_backwards() {
    let mut peer = Peer::open();
    let due = peer.client.next_timeout();
    peer.client.handle_timeout(Timestamp::ZERO);
    peer.send(&ServerFrame::Ping { nonce: 1 });
    let before = core::mem::replace(&mut peer.now, Timestamp::ZERO);
    peer.send(&ServerFrame::Ping { nonce: 1 });
    assert_eq!(peer.client.next_timeout(), due);
    assert_eq!(peer.client.next_timeout(), Some(before + Duration::from_secs(30)));
}

#[test]
fn a_ping_is_answered() {
    let mut peer = Peer::open();
    peer.send(&ServerFrame::Ping { nonce: 3 });
    assert_eq!(peer.sent(), [Sent::Pong(3)]);
}

#[test]
fn names_and_tokens_that_do_not_fit_never_reach_the_wire() {
    let mut config = ClientConfig::new(1);
    config.name = "ä".repeat(200);
    let mut peer = Peer::new(config);
    peer.connect_only();
    let Sent::Hello { name, .. } = peer.sent_one() else {
        panic!("no Hello");
    };
    assert_eq!(name, "ä".repeat(127));

    let mut config = ClientConfig::new(1);
    config.token = vec![0; 1_025];
    let client = Client::new(config);
    assert_eq!(client.link(), Link::Closed(Some(LinkError::TokenTooLong { got: 1_025 })));
}
