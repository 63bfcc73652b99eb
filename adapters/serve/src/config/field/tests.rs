//! Values of the configuration, read and written.

use super::*;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn sizes_have_units() {
    let mut size = 0;
    for (given, expected) in [("1MiB", 1 << 20), ("64 KiB", 64 << 10), ("1MB", 1_000_000), ("1_000", 1_000)] {
        Field::Size(&mut size, 1 << 30).read(&text(given)).unwrap();
        assert_eq!(size, expected, "{given}");
    }
    for wrong in ["", "many", "-1MiB", "0", "2GiB"] {
        assert!(Field::Size(&mut size, 1 << 30).read(&text(wrong)).is_err(), "{wrong}");
    }
    assert_eq!([bytes(1 << 20), bytes(1_536), bytes(1_000), bytes(0)], ["1MiB", "1536B", "1000B", "0B"]);
}

#[test]
fn durations_have_units() {
    let mut span = Duration::ZERO;
    for (given, shown) in [("24h", "24h"), ("90m", "1h30m"), ("36h", "36h"), ("250ms", "250ms"), ("0", "0s")]
    {
        Field::Duration(&mut span).read(&text(given)).unwrap();
        assert_eq!(duration(span), shown);
    }
    assert!(Field::Duration(&mut span).read(&text("10")).is_err());
    assert!(Field::Timeout(&mut span).read(&text("0s")).is_err());
}

#[test]
fn durations_may_be_forever_and_counts_and_sizes_unlimited() {
    let (mut micros, mut count, mut size) = (0, 0, 0);
    Field::DurationOrForever(&mut micros).read(&text("forever")).unwrap();
    Field::CountOrUnlimited(&mut count).read(&text("unlimited")).unwrap();
    Field::SizeOrUnlimited(&mut size).read(&text("unlimited")).unwrap();
    assert_eq!([micros, count, size], [u64::MAX; 3]);
    assert_eq!(Field::DurationOrForever(&mut micros).write(), "\"forever\"");
    assert_eq!(Field::SizeOrUnlimited(&mut size).write(), "\"unlimited\"");
    assert!(Field::CountOrUnlimited(&mut count).read(&Value::Number(0)).is_err());
}

#[test]
fn a_size_may_be_left_to_the_broker() {
    let mut size = None;
    for (given, expected, shown) in [("4MiB", Some(4 << 20), "\"4MiB\""), ("auto", None, "\"auto\"")] {
        Field::SizeOrAuto(&mut size, 1 << 30).read(&text(given)).expect(given);
        assert_eq!(size, expected);
        assert_eq!(Field::SizeOrAuto(&mut size, 1 << 30).write(), shown);
    }
    for wrong in ["", "0", "2GiB", "Auto", "auto auto", "unlimited"] {
        assert!(Field::SizeOrAuto(&mut size, 1 << 30).read(&text(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn syncs_are_always_or_at_an_interval() {
    let mut sync = StorageSync::Always;
    for (given, shown) in [("interval 1s", "\"interval 1s\""), ("interval 90s", "\"interval 1m30s\"")] {
        Field::Sync(&mut sync).read(&text(given)).expect(given);
        assert_eq!(Field::Sync(&mut sync).write(), shown);
        let again = sync;
        Field::Sync(&mut sync).read(&text(shown.trim_matches('"'))).expect(shown);
        assert_eq!(sync, again);
    }
    Field::Sync(&mut sync).read(&text("always")).unwrap();
    assert_eq!((sync, Field::Sync(&mut sync).write()), (StorageSync::Always, "\"always\"".to_owned()));
    for wrong in
        ["", "interval", "interval=1s", "interval 0s", "interval 1", "interval1s", "1s", "never", "always 1s"]
    {
        assert!(Field::Sync(&mut sync).read(&text(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn memory_is_a_share_or_a_size() {
    for (given, expected) in [("25%", Memory::Share(25)), ("256MiB", Memory::Bytes(256 << 20))] {
        assert_eq!(memory(&text(given)), Ok(expected));
    }
    assert_eq!(memory(&text("8MiB")), Ok(Memory::Bytes(8 << 20)));
    for wrong in ["0%", "101%", "%", "25%%", "25% 25%", "all", "0", "1", "8MB", "8388607", "8MiB8MiB"] {
        let refused = memory(&text(wrong)).expect_err(wrong);
        assert!(refused.ends_with(", at least 8MiB"), "{wrong}: {refused}");
    }
    assert!(memory(&Value::Number(1)).is_err());
}

#[test]
fn names_may_have_a_hyphen_or_an_underscore() {
    for given in ["drop_oldest", "drop-oldest"] {
        let mut overflow = Overflow::Reject;
        Field::Overflow(&mut overflow).read(&text(given)).expect(given);
        assert_eq!(overflow, Overflow::DropOldest);
        assert_eq!(Field::Overflow(&mut overflow).write(), "\"drop_oldest\"");
    }
    for wrong in ["dropoldest", "drop_oldest_", "drop_oldest,reject", "drop", ""] {
        assert!(Field::Overflow(&mut Overflow::Reject).read(&text(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn the_number_of_addresses_is_limited() {
    let many = |count| Value::List(vec!["127.0.0.1:0".to_owned(); count]);
    assert!(addresses(&many(MAX_ADDRESSES)).is_ok());
    assert_eq!(addresses(&many(MAX_ADDRESSES + 1)), Err("use at most 1024 addresses".to_owned()));
}

#[test]
fn a_list_may_be_one_text_with_commas() {
    let expected = vec![Address::loopback(1), Address::loopback(2)];
    assert_eq!(addresses(&text("127.0.0.1:1, 127.0.0.1:2")), Ok(expected.clone()));
    assert_eq!(addresses(&Value::List(vec!["127.0.0.1:1".into(), "127.0.0.1:2".into()])), Ok(expected));
    assert!(addresses(&Value::List(Vec::new())).is_err());
}

#[test]
fn numbers_are_written_in_groups() {
    assert_eq!([grouped(7), grouped(1_024), grouped(10_000_000)], ["7", "1_024", "10_000_000"]);
}
