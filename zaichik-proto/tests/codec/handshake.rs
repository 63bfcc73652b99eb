//! Only the handshake's frames decode before the handshake is done (docs/protocol.md §3).

use zaichik_proto::{
    ClientDecoder, ClientFrame, FrameHeader, HEADER_LEN, Hello, Limits, MAGIC, ProtocolError, ProtocolFault,
    ServerDecoder, ServerFrame, Version, Welcome,
};

use crate::{client_bytes, raw_frame, server_bytes};

#[test]
fn s1_no_other_client_frame_is_allowed_first() {
    for kind in (0x02..=0x0f).chain(0x80..=0xff) {
        let stream = [&MAGIC[..], &header(0, kind)].concat();
        assert_eq!(client(&stream), Err(at(4, ProtocolFault::OutOfPhase { kind })));
    }
}

#[test]
fn s1_no_other_broker_frame_is_allowed_first() {
    for kind in (0x42..=0x4f).chain(0x80..=0xff) {
        assert_eq!(broker(&header(0, kind)), Err(at(0, ProtocolFault::OutOfPhase { kind })));
    }
}

#[test]
fn s1_hello_is_allowed_once() {
    let stream = hello();
    let again = &stream[MAGIC.len()..];
    let mut decoder = ClientDecoder::handshake(&Limits::default());
    assert!(matches!(decoder.decode(&stream), Ok(Some((ClientFrame::Hello(_), _)))));
    let mut opened = decoder.clone();
    let refused = Err(at(stream.len(), ProtocolFault::OutOfPhase { kind: 0x01 }));
    assert_eq!(decoder.decode(again), refused, "before the broker has opened the connection");
    opened.open(Version::One, &Limits::default());
    assert_eq!(opened.decode(again), refused, "after it has");
}

#[test]
fn s1_nothing_is_allowed_between_hello_and_welcome() {
    let mut decoder = ClientDecoder::handshake(&Limits::default());
    let stream = hello();
    assert!(decoder.decode(&stream).is_ok());
    let close = client_bytes(&ClientFrame::Close);
    let refused = at(stream.len(), ProtocolFault::OutOfPhase { kind: 0x0d });
    assert_eq!(decoder.decode(&close), Err(refused));
    decoder.open(Version::One, &Limits::default());
    assert_eq!(decoder.decode(&close), Err(refused), "opening does not clear the error");
}

#[test]
fn s1_welcome_is_allowed_once() {
    let stream = welcome(Limits::default());
    let mut decoder = ServerDecoder::handshake(&Limits::default());
    assert!(matches!(decoder.decode(&stream), Ok(Some((ServerFrame::Welcome(_), _)))));
    decoder.open(Version::One, &Limits::default());
    let refused = at(stream.len(), ProtocolFault::OutOfPhase { kind: 0x41 });
    assert_eq!(decoder.decode(&stream), Err(refused));
}

#[test]
fn s1_fatal_is_allowed_first_and_later() {
    let fatal = raw_frame(0x50, &[34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(broker(&fatal), Ok(Some(fatal.len())));
    let mut decoder = ServerDecoder::new(&Limits::default());
    assert!(matches!(decoder.decode(&fatal), Ok(Some((ServerFrame::Fatal(_), _)))));
}

#[test]
fn s1_a_handshake_has_at_most_4_kib() {
    for got in [4_097, 1 << 20, 1 << 31, u32::MAX] {
        let too_large = ProtocolFault::FrameTooLarge { limit: 4_096, got };
        let stream = [&MAGIC[..], &header(got, 0x01)].concat();
        assert_eq!(client(&stream), Err(at(4, too_large)));
        assert_eq!(broker(&header(got, 0x41)), Err(at(0, too_large)));
        assert_eq!(broker(&header(got, 0x50)), Err(at(0, too_large)));
    }
    let stream = [&MAGIC[..], &header(4_096, 0x01)].concat();
    assert_eq!(client(&stream), Ok(None));
    assert_eq!(broker(&header(4_096, 0x41)), Ok(None));
}

#[test]
fn the_longest_hello_and_welcome_fit() {
    let name = "n".repeat(255);
    let hello = ClientFrame::Hello(Hello { version: 1, name: &name, token: &[7; Limits::MAX_TOKEN] });
    let stream = [&MAGIC[..], &client_bytes(&hello)].concat();
    assert_eq!(client(&stream), Ok(Some(stream.len())));
    let hello = ClientFrame::Hello(Hello { version: 1, name: &name, token: &[7; Limits::MAX_TOKEN + 1] });
    let stream = [&MAGIC[..], &client_bytes(&hello)].concat();
    let fault = ProtocolFault::BadValue { field: "token length", got: 1_025 };
    assert_eq!(client(&stream), Err(at(4, fault)));
}

#[test]
fn a_hello_of_a_later_version_decodes() {
    for version in [0, 1, 2, u16::MAX] {
        let hello = ClientFrame::Hello(Hello { version, name: "", token: b"" });
        let stream = [&MAGIC[..], &client_bytes(&hello)].concat();
        assert_eq!(client(&stream), Ok(Some(stream.len())), "the broker decides, not the codec");
    }
}

#[test]
fn a_welcome_with_a_limit_of_zero_is_refused() {
    let whole = welcome(Limits::default());
    assert_eq!(broker(&whole), Ok(Some(whole.len())));
    for limit in 0..7 {
        let mut stream = whole.clone();
        let place = HEADER_LEN + 2 + 16 + 4 * limit;
        stream[place..place + 4].fill(0);
        let fault = ProtocolFault::BadValue { field: "limit", got: 0 };
        assert_eq!(broker(&stream), Err(at(0, fault)));
    }
}

#[test]
fn a_hello_keeps_its_token_out_of_logs() {
    let hello = Hello { version: 1, name: "probe", token: b"open sesame" };
    assert_eq!(format!("{hello:?}"), r#"Hello { version: 1, name: "probe", token: "redacted" }"#);
}

#[test]
fn s1_an_incomplete_magic_is_no_error() {
    for len in 0..=MAGIC.len() {
        assert_eq!(client(&MAGIC[..len]), Ok(None));
    }
}

#[test]
fn s1_other_protocols_are_refused_at_the_first_byte_that_differs() {
    let packets: [(&str, &[u8]); 18] = [
        ("HTTP/1.1 GET", b"GET / HTTP/1.1\r\nHost: localhost:8889\r\n\r\n"),
        ("HTTP/1.1 POST", b"POST /topics HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS 1.3 client hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("TLS alert", b"\x15\x03\x01\x00\x02\x02\x28"),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("Redis PING, RESP", b"*1\r\n$4\r\nPING\r\n"),
        ("Redis PING, inline", b"PING\r\n"),
        ("MQTT 3.1.1 CONNECT", b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02c1"),
        ("Kafka ApiVersions", b"\x00\x00\x00\x14\x00\x12\x00\x03\x00\x00\x00\x01\x00\x03rdk\x00"),
        ("NATS CONNECT", b"CONNECT {\"verbose\":false}\r\nPING\r\n"),
        ("AMQP 0-9-1", b"AMQP\x00\x00\x09\x01"),
        ("PostgreSQL SSLRequest", b"\x00\x00\x00\x08\x04\xd2\x16\x2f"),
        ("ZooKeeper four-letter word", b"ruok"),
        ("PROXY protocol, version 2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"),
        ("memcached", b"stats\r\n"),
        ("another major version", b"ZAI\x02\x0a\x00\x00\x00"),
        ("nearly the magic", b"ZAP!"),
    ];
    for (name, packet) in packets {
        let differs = packet.iter().zip(MAGIC).position(|(got, wanted)| *got != wanted);
        let differs = differs.expect("it is another protocol");
        let mut decoder = ClientDecoder::handshake(&Limits::default());
        assert_eq!(decoder.decode(&packet[..differs]), Ok(None), "{name}");
        let refused = Err(at(0, ProtocolFault::BadMagic));
        assert_eq!(decoder.decode(&packet[..=differs]), refused, "{name}");
        assert_eq!(decoder.decode(&hello()), refused, "{name}: the error is final");
        assert_eq!(client(packet), Err(at(0, ProtocolFault::BadMagic)), "{name}: in one piece");
    }
}

/// The number of bytes that a broker's decoder consumes from a new stream.
fn client(stream: &[u8]) -> Result<Option<usize>, ProtocolError> {
    let mut decoder = ClientDecoder::handshake(&Limits::default());
    decoder.decode(stream).map(|step| step.map(|(_, taken)| taken))
}

/// The number of bytes that a client's decoder consumes from a new stream.
fn broker(stream: &[u8]) -> Result<Option<usize>, ProtocolError> {
    let mut decoder = ServerDecoder::handshake(&Limits::default());
    decoder.decode(stream).map(|step| step.map(|(_, taken)| taken))
}

fn hello() -> Vec<u8> {
    let hello = ClientFrame::Hello(Hello { version: 1, name: "probe", token: b"" });
    [&MAGIC[..], &client_bytes(&hello)].concat()
}

fn welcome(limits: Limits) -> Vec<u8> {
    server_bytes(&ServerFrame::Welcome(Welcome {
        version: 1,
        instance: 7,
        limits,
        capabilities: 0,
        server: "zaichik",
    }))
}

fn header(body_len: u32, kind: u8) -> [u8; HEADER_LEN] {
    FrameHeader { body_len, kind }.to_bytes()
}

const fn at(offset: usize, fault: ProtocolFault) -> ProtocolError {
    ProtocolError { offset: offset as u64, fault }
}
