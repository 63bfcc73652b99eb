//! Codes and masks have the same meaning in both directions, and their texts name a remedy.

use std::time::Duration;

use zaichik_proto::{
    CompactionMode, FaultCode, Overflow, ProtocolFault, RecordError, Refusal, RefusalCode, TopicOptions,
    micros,
};

#[test]
fn every_code_has_one_meaning() {
    for code in 0..=u16::MAX {
        assert_eq!(RefusalCode::from_code(code).code(), code);
        assert_eq!(FaultCode::from_code(code).code(), code);
    }
    assert!(RefusalCode::ALL.is_sorted() && FaultCode::ALL.is_sorted());
    assert_eq!(RefusalCode::from_code(9), RefusalCode::Busy);
    assert_eq!(RefusalCode::from_code(999), RefusalCode::Unknown(999));
    assert!(!RefusalCode::Unknown(999).is_retryable());
}

#[test]
fn every_fault_has_its_documented_code() {
    for (fault, code) in [
        (ProtocolFault::BadMagic, 1),
        (ProtocolFault::UnsupportedVersion { got: 9 }, 2),
        (ProtocolFault::OutOfPhase { kind: 1 }, 3),
        (ProtocolFault::FrameTooLarge { limit: 1, got: 2 }, 4),
        (ProtocolFault::UnknownKind { kind: 1 }, 5),
        (ProtocolFault::WrongDirection { kind: 1 }, 6),
        (ProtocolFault::Unsupported { kind: 0x11 }, 13),
        (ProtocolFault::ReservedBits { field: "header" }, 7),
        (ProtocolFault::Truncated, 8),
        (ProtocolFault::TrailingBytes { count: 1 }, 8),
        (ProtocolFault::BadValue { field: "start", got: 4 }, 9),
        (ProtocolFault::CountTooLarge { field: "records", limit: 1, got: 2 }, 10),
        (ProtocolFault::NotUtf8 { field: "text" }, 11),
        (ProtocolFault::BadRecord { index: 3, error: RecordError::ZeroTtl }, 12),
    ] {
        assert_eq!(fault.code().code(), code, "{fault}");
    }
}

#[test]
fn t_04_a_refusal_names_the_settings_that_differ() {
    let ours = TopicOptions::new().retention_ttl(Duration::from_secs(10)).max_messages(1_000);
    let theirs = TopicOptions::new().max_messages(1_000);
    assert_eq!(ours.difference(&ours), 0);
    let mask = ours.difference(&theirs.overflow(Overflow::Reject));
    assert_eq!(mask, 0b10_0001);
    assert_eq!(
        Refusal::with_value(RefusalCode::SettingsDiffer, mask).to_string(),
        "the topic exists with other settings; these differ: retention_ttl, overflow; to change them, alter the topic"
    );
}

#[test]
fn the_mask_has_the_documented_order() {
    let second = Duration::from_secs(1);
    let settings = [
        TopicOptions::new().retention_ttl(second),
        TopicOptions::new().compaction_window(second),
        TopicOptions::new().compaction(CompactionMode::Latest),
        TopicOptions::new().max_messages(1),
        TopicOptions::new().max_bytes(1),
        TopicOptions::new().overflow(Overflow::Reject),
        TopicOptions::new().max_keys(1),
        TopicOptions::new().tombstone_ttl(second),
    ];
    for (bit, setting) in settings.iter().enumerate() {
        assert_eq!(setting.difference(&TopicOptions::new()), 1 << bit);
    }
}

#[test]
fn unknown_settings_in_a_mask_are_ignored() {
    let refusal = Refusal::with_value(RefusalCode::InvalidSettings, u64::MAX);
    assert_eq!(
        refusal.to_string(),
        "the topic's settings are invalid: retention_ttl, compaction_window, compaction, \
         max_messages, max_bytes, overflow, max_keys, tombstone_ttl"
    );
}

#[test]
fn a_duration_that_does_not_fit_means_forever() {
    assert_eq!(micros(Duration::from_micros(7)), 7);
    assert_eq!(micros(Duration::MAX), u64::MAX);
}

#[test]
fn every_refusal_has_a_text() {
    for code in RefusalCode::ALL {
        assert!(Refusal::with_value(*code, 7).to_string().len() > 20, "{code}");
    }
}
