//! Chapter W: a pattern of topics, one of which is created later.

use zaichik_proto::Version;
use zaichik_testkit::PatternSub;

use crate::broker::Broker;
use crate::form::Form;

pub(crate) async fn w_01_a_topic_that_is_created_later_is_received_from_its_first_record_on<F: Form>() {
    let broker = Broker::<F>::start().await;
    let (peer, writer) = (broker.dial().await, broker.dial().await);
    peer.shake_hands_as(Version::Two).await;
    writer.shake_hands_as(Version::Two).await;
    let answer = peer.answer(peer.subscribe_pattern(PatternSub::new(1, b"orders.*").window(2))).await;
    assert_eq!(answer, "pattern of 0 topics");
    // No other connection continues the work that the creation leaves.
    assert_eq!(writer.answer(writer.publish("orders.new", "a")).await, "@0 new");
    assert_eq!(peer.stream_of(2).await, ["1 ~0 is orders.new 0..1", "~0/0=a"]);
    writer.answer(writer.publish("orders.new", "b")).await;
    writer.answer(writer.publish("orders.new", "c")).await;
    assert_eq!(peer.stream_of(1).await, ["~0/1=b"]);
    assert_eq!(peer.answer(peer.commit(1 << 31, 1)).await, "done 2");
    assert_eq!(peer.stream_of(1).await, ["~0/2=c"]);
    broker.stop().await;
}
