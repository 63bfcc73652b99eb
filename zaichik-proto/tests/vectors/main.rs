//! The codec agrees with the vectors and the example conversation of docs/protocol.md.

mod build;
mod client;
mod conversation;
mod doc;
mod server;
mod two;

use std::collections::BTreeMap;

use bytes::BytesMut;
use zaichik_proto::{
    ClientDecoder, ClientFrame, Counter, FaultCode, Limits, MAGIC, RefusalCode, ServerDecoder, ServerFrame,
    Version,
};

#[test]
fn every_client_vector_encodes_and_decodes() {
    let vectors = doc::vectors("client");
    let frames = client::frames();
    assert_eq!(names(&vectors), names(&frames));
    for (name, frame) in frames {
        let wire = &vectors[name];
        let mut encoded = BytesMut::new();
        frame.encode(&mut encoded);
        assert_eq!(encoded, wire[..], "encode {name}");
        let (mut decoder, stream) = if matches!(frame, ClientFrame::Hello(_)) {
            let decoder = ClientDecoder::handshake(&Limits::default());
            (decoder, [&MAGIC[..], wire].concat())
        } else {
            (ClientDecoder::new(&Limits::default()), wire.clone())
        };
        let outcome = decoder.decode(&stream);
        assert_eq!(outcome, Ok(Some((frame, stream.len()))), "decode {name}");
    }
}

#[test]
fn every_broker_vector_encodes_and_decodes() {
    let vectors = doc::vectors("broker");
    let frames = server::frames();
    assert_eq!(names(&vectors), names(&frames));
    for (name, frame) in frames {
        let wire = &vectors[name];
        let mut encoded = BytesMut::new();
        frame.encode(&mut encoded);
        assert_eq!(encoded, wire[..], "encode {name}");
        let mut decoder = if matches!(frame, ServerFrame::Welcome(_)) {
            ServerDecoder::handshake(&Limits::default())
        } else {
            ServerDecoder::new(&Limits::default())
        };
        assert_eq!(decoder.decode(wire), Ok(Some((frame, wire.len()))), "decode {name}");
    }
}

#[test]
fn every_vector_of_version_two_encodes_and_decodes() {
    let vectors = doc::vectors("client-v2");
    let frames = two::client_frames();
    assert_eq!(names(&vectors), names(&frames));
    for (name, frame) in frames {
        let mut encoded = BytesMut::new();
        frame.encode(&mut encoded);
        assert_eq!(encoded, vectors[name][..], "encode {name}");
        let mut decoder = ClientDecoder::speaking(Version::Two, &Limits::default());
        assert_eq!(decoder.decode(&vectors[name]), Ok(Some((frame, encoded.len()))), "decode {name}");
    }
    let vectors = doc::vectors("broker-v2");
    let frames = two::server_frames();
    assert_eq!(names(&vectors), names(&frames));
    for (name, frame) in frames {
        let mut encoded = BytesMut::new();
        frame.encode(&mut encoded);
        assert_eq!(encoded, vectors[name][..], "encode {name}");
        let mut decoder = if matches!(frame, ServerFrame::Welcome(_)) {
            ServerDecoder::handshake(&Limits::default())
        } else {
            ServerDecoder::speaking(Version::Two, &Limits::default())
        };
        assert_eq!(decoder.decode(&vectors[name]), Ok(Some((frame, encoded.len()))), "decode {name}");
    }
}

#[test]
fn the_example_conversation_encodes_and_decodes() {
    let (client, broker) = conversation::halves();
    assert_eq!(doc::said_by("client").concat(), client);
    assert_eq!(doc::said_by("broker").concat(), broker);

    let limits = Limits::default();
    let mut decoder = ClientDecoder::handshake(&limits);
    let mut rest = &client[..];
    while let Some((_, taken)) = decoder.decode(rest).unwrap() {
        decoder.open(Version::One, &limits);
        rest = &rest[taken..];
    }
    assert!(rest.is_empty(), "the client's half ends with a complete frame");

    let mut decoder = ServerDecoder::handshake(&limits);
    let mut rest = &broker[..];
    while let Some((_, taken)) = decoder.decode(rest).unwrap() {
        decoder.open(Version::One, &limits);
        rest = &rest[taken..];
    }
    assert!(rest.is_empty(), "the broker's half ends with a complete frame");
}

#[test]
fn the_tables_of_codes_are_complete() {
    let section = |from: &str, to: &str| {
        let start = doc::TEXT.find(from).expect("the section exists");
        let rest = &doc::TEXT[start..];
        &rest[..rest.find(to).expect("the next section exists")]
    };
    let rows = |section: &str| -> Vec<(u16, String)> {
        let row = |line: &str| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let code = cells.next()?.parse().ok()?;
            Some((code, cells.next()?.trim_matches('`').to_owned()))
        };
        section.lines().filter_map(row).collect()
    };
    let refusals: Vec<_> = RefusalCode::ALL.iter().map(|code| (code.code(), code.to_string())).collect();
    assert_eq!(rows(section("\n## 8. ", "\n## 9. ")), refusals);
    let faults: Vec<_> = FaultCode::ALL.iter().map(|code| (code.code(), code.to_string())).collect();
    assert_eq!(rows(section("\n## 9. ", "\n## 10. ")), faults);
    let counters: Vec<_> = Counter::ALL.iter().map(|one| (one.code(), one.name().to_owned())).collect();
    assert_eq!(rows(section("\n### 7.16 ", "\n### 7.17 ")), counters);
    for code in RefusalCode::ALL {
        let row = format!("| {} | `{code}` |", code.code());
        let line = doc::TEXT.lines().find(|line| line.starts_with(&row)).expect("a row for each code");
        let retryable = line.split('|').nth(4).map(str::trim);
        let expected = if code.is_retryable() { "yes" } else { "no" };
        assert_eq!(retryable, Some(expected), "{code}");
    }
}

fn names<V>(map: &BTreeMap<&'static str, V>) -> Vec<&'static str> {
    map.keys().copied().collect()
}
