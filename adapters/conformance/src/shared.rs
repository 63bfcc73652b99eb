//! Chapter G: members of a shared subscription, one of which dies.

use zaichik_driver::TopicOptions;
use zaichik_proto::Version;
use zaichik_testkit::Member;

use crate::broker::{Broker, PeerOf};
use crate::form::Form;

/// A member of the shared subscription "g" of the topic "t".
async fn member<F: Form>(broker: &Broker<F>, window: u32) -> PeerOf<F> {
    let peer = broker.dial().await;
    peer.shake_hands_as(Version::Two).await;
    let answer = peer.answer(peer.join(Member::new(1, "t", "g").window(window))).await;
    assert_eq!(answer, "0..6");
    peer
}

pub(crate) async fn g_02_what_a_member_held_comes_to_the_others_when_its_connection_breaks<F: Form>() {
    let broker = Broker::<F>::start().await;
    let writer = broker.topic(TopicOptions::new().retain_forever()).await;
    for body in ["a", "b", "c", "d", "e", "f"] {
        writer.answer(writer.publish("t", body)).await;
    }
    let dies = member(&broker, 4).await;
    assert_eq!(dies.stream_of(4).await, ["1/0=a", "1/1=b", "1/2=c", "1/3=d"]);
    let lives = member(&broker, 9).await;
    assert_eq!(lives.stream_of(2).await, ["1/4=e", "1/5=f"]);
    drop(dies);
    assert_eq!(lives.stream_of(4).await, ["1/0=a #2", "1/1=b #2", "1/2=c #2", "1/3=d #2"]);
    assert_eq!(lives.answer(lives.ack(1, &[(0, 6)])).await, "acked to 6");
    broker.stop().await;
}
