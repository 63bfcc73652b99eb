//! A6, S: what was removed before it was delivered.

use futures::future::join_all;
use zaichik_driver::TopicOptions;
use zaichik_testkit::Sub;

use crate::broker::{Broker, PeerOf, next, put, settled};
use crate::form::Form;

pub(crate) async fn a_19_who_is_overtaken_by_a_limit_is_told_once_in_the_right_place<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (reader, writer) = (broker.client().await, broker.client().await);
    let options = TopicOptions::new().retain_forever().max_messages(10);
    writer.create_topic("t", options).await.expect("created");
    let mut slow = reader.subscribe("t").window(5).await.expect("subscribed");
    for body in 0..5_u32 {
        put(&writer, "t", body.to_string()).await;
    }
    for expected in ["0=0", "1=1", "2=2", "3=3", "4=4"] {
        assert_eq!(next(&mut slow).await, expected);
    }
    join_all((5..100_u32).map(|body| writer.publish("t", body.to_string()))).await;
    slow.commit_to(2).await.expect("committed");
    assert_eq!(settled(&reader, &mut slow).await, ["5..90 limit", "90=90", "91=91", "92=92"]);
    slow.commit_to(4).await.expect("committed");
    assert_eq!(settled(&reader, &mut slow).await, ["93=93", "94=94"]);
    broker.stop().await;
}

/// Readers of windows that differ, one of which starts late, on a topic that keeps seven messages.
pub(crate) async fn s_02_every_offset_is_delivered_or_in_a_gap<F: Form>() {
    const MESSAGES: u64 = 600;
    let broker = Broker::<F>::start().await;
    let writer = broker.topic(TopicOptions::new().retain_forever().max_messages(7)).await;
    let mut readers = Vec::new();
    for window in [0, 1, 2, 16] {
        let reader = broker.peer().await;
        if window == 2 {
            writer.answer(writer.publish("t", "early")).await;
        }
        let answer = reader.answer(reader.subscribe_to(Sub::new(1, "t").window(window))).await;
        assert_eq!(answer.split("..").next(), Some("0"));
        readers.push((reader, window, 0, 0));
    }
    for message in 1..MESSAGES {
        let request = writer.publish("t", "x");
        if message % 11 == 0 || message + 1 == MESSAGES {
            writer.answer(request).await;
        }
        if message % 50 == 0 {
            for reader in &mut readers {
                account::<F>(reader).await;
            }
        }
    }
    for mut reader in readers {
        while reader.2 < MESSAGES {
            assert!(account::<F>(&mut reader).await, "a reader that commits everything gets to the end");
        }
        assert_eq!(reader.2, MESSAGES);
        assert!(reader.1 == 0 || reader.3 > 0, "a slow reader was overtaken");
    }
    broker.stop().await;
}

/// Adds what came to the offsets that are accounted for, and to those of them that were missing; commits it.
async fn account<F: Form>((reader, window, told, missing): &mut (PeerOf<F>, u32, u64, u64)) -> bool {
    let came = reader.stream().await;
    let mut delivered = None;
    for one in &came {
        let one = one.strip_prefix("1/").or_else(|| one.strip_prefix("1 ")).expect("it is of subscription 1");
        let offset = |text: &str| text.parse::<u64>().expect("an offset");
        let range = one.split([' ', '=']).next().expect("there is a first word");
        let (from, to) = if let Some((from, to)) = range.split_once("..") {
            *missing += offset(to) - offset(from);
            (offset(from), offset(to))
        } else {
            delivered = Some(offset(range));
            (offset(range), offset(range) + 1)
        };
        assert_eq!(from, *told, "nothing is left out and nothing comes twice: {one}");
        *told = to;
    }
    if let Some(offset) = delivered.filter(|_| *window > 0) {
        reader.answer(reader.commit(1, offset)).await;
    }
    !came.is_empty()
}
