//! One subscription to every topic whose name matches a pattern, also to those that are created later; each topic is in order,
//! and is committed alone.
//!
//! `PORT=8889 cargo run --example pattern`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::collections::BTreeMap;

use futures::FutureExt;
use zaichik_examples::{Outcome, address, expect, unique};
use zaichik_tokio::{Client, Event, PatternEvent, TopicOptions};

const TOPICS: usize = 3;

/// Messages of each topic.
const MESSAGES: usize = 3;

#[tokio::main]
async fn main() -> Outcome {
    let writer = Client::connect(&address()).await?;
    // Topics cannot be deleted, so each run has its own.
    let run = unique("orders")?.replace('/', "-");
    let kept = TopicOptions::new().retain_forever();
    writer.create_topic(&format!("{run}.eu.new"), kept).await?;
    writer.publish_all(&format!("{run}.eu.new"), ["one tea", "two teas", "three teas"]).await?;

    // `*` stands for one part of a name between dots, and `>` for all that follow. The window is that of all topics together.
    let reader = Client::connect(&address()).await?;
    let mut orders = reader.subscribe_pattern(&format!("{run}.>")).window(4).await?;
    println!("{} matches {} topic now", orders.pattern(), orders.topics());

    // Topics that nobody has named to the subscriber. They keep nothing for later subscribers, and nothing is missed.
    for region in ["us", "asia"] {
        let topic = format!("{run}.{region}.new");
        for number in 0..MESSAGES {
            writer.publish(&topic, format!("order {number} from {region}")).await?;
        }
    }

    let mut seen: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < TOPICS * MESSAGES {
        let event = orders.next_event().await?.ok_or("the subscription ended")?;
        if let PatternEvent::Topic { topic, event: Event::Message(order), .. } = event {
            println!("{topic}, offset {}: {:?}", order.offset, order.body);
            seen.entry(topic).or_default().push(order.offset);
            order.commit().await?; // it, and those before it in its topic
        } else {
            println!("{event:?}"); // a topic that is covered from now on, or could not be; a gap, a reconnect
        }
    }
    let is_in_order = |offsets: &Vec<u64>| offsets.iter().copied().eq(0..MESSAGES as u64);
    expect(
        seen.len() == TOPICS && seen.values().all(is_in_order),
        "all messages, in the order of each topic",
    )?;

    // One topic can be left; the pattern continues without it.
    orders.leave(&format!("{run}.us.new")).await?;
    writer.publish(&format!("{run}.us.new"), "nobody reads it").await?;
    writer.publish(&format!("{run}.asia.new"), "the last one").await?;
    let last = orders.next_message().await?.ok_or("the subscription ended")?;
    println!("{}: {:?}", last.topic(), last.body);
    expect(last.topic() == format!("{run}.asia.new"), "no more messages of the topic that was left")?;
    expect(orders.next_message().now_or_never().is_none(), "nothing else")?;
    writer.close().await?;
    reader.close().await?;
    Ok(())
}
