//! Chapter S: peers that accept no output, or do not complete a frame (rule S16).

use zaichik_engine::{CloseReason, Status};
use zaichik_proto::AckLevel;

use crate::world::{Sub, World, record, secs, us};

#[test]
fn write_deadline_is_met_exactly() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe(1, "t"));
    reader.stop_reading();
    world.advance(secs(100));
    world.ask(&writer, writer.publish("t", "x"));
    world.advance(us(9_999_999));
    assert_eq!(world.status(&reader), Status::Open);
    world.advance(us(1));
    assert_eq!(world.status(&reader), Status::Closed);
    assert_eq!(world.reason(&reader), Some(CloseReason::SlowConsumer));
    assert_eq!(world.broker.session_count(), 1);
}

/// Otherwise a peer could keep memory for ever with a byte now and then.
#[test]
fn s16_a_trickle_does_not_move_the_write_deadline_and_16_kib_do() {
    for (at_once, status) in [(1, Status::Closed), ((16 << 10) - 1, Status::Closed), (16 << 10, Status::Open)]
    {
        let mut world = World::new();
        let (reader, writer) = (world.connect(), world.connect());
        world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
        reader.stop_reading();
        for _ in 0..4 {
            writer.publish_with("t", AckLevel::None, &[record(&vec![b'x'; 60_000])]);
            world.settle();
        }
        reader.split_writes(at_once);
        for _ in 0..10 {
            world.advance(us(9_999_999));
            if world.status(&reader) != Status::Open {
                break;
            }
            reader.resume_reading();
            world.step();
            reader.stop_reading();
            world.settle();
        }
        assert_eq!(world.status(&reader), status, "{at_once} bytes in 10 s");
    }
}

/// All that waited was accepted, so there was progress, although more waits by then.
#[test]
fn s16_output_that_waited_moves_the_deadline_when_it_was_accepted() {
    let mut world = World::new();
    let (reader, writer) = (world.connect(), world.connect());
    world.ask(&reader, reader.subscribe_to(Sub::new(1, "t").window(0)));
    reader.stop_reading();
    world.ask(&writer, writer.publish("t", "x"));
    for _ in 0..20 {
        world.advance(us(9_999_999));
        reader.resume_reading();
        world.step();
        reader.stop_reading();
        world.ask(&writer, writer.publish("t", "x"));
    }
    assert_eq!(world.status(&reader), Status::Open);
    world.advance(secs(10));
    assert_eq!(world.status(&reader), Status::Closed);
}

#[test]
fn write_deadline_begins_when_output_is_pending() {
    let mut world = World::new();
    let peer = world.dial();
    peer.stop_reading();
    // No timeout was handled in between.
    let later = world.now + secs(4);
    world.jump(later);
    peer.hello(b"");
    world.settle();
    world.advance(us(9_999_999));
    assert_eq!(world.status(&peer), Status::Open);
    world.advance(us(1));
    assert_eq!(world.status(&peer), Status::Closed);
}

#[test]
fn write_deadline_also_applies_to_the_last_frames() {
    let mut world = World::new();
    let peer = world.connect();
    peer.stop_reading();
    world.advance(secs(3));
    peer.close();
    world.settle();
    assert_eq!(world.status(&peer), Status::Closing);
    assert_eq!(world.broker.session_count(), 1, "its last frames are charged until they are sent");
    world.advance(us(9_999_999));
    assert_eq!(world.status(&peer), Status::Closing);
    world.advance(us(1));
    assert_eq!(world.status(&peer), Status::Closed);
}

#[test]
fn s16_a_frame_has_all_of_its_time_however_long_the_connection_was_idle() {
    for idle in [0, 9, 20, 3_600] {
        let mut world = World::new();
        let peer = world.connect();
        // Nothing looked at the connection in between.
        let later = world.now + secs(idle);
        world.jump(later);
        // The first half of a frame.
        peer.send_bytes(&[20, 0, 0, 0, 4, 0, 0, 0, 1]);
        world.settle();
        world.advance(us(9_999_999));
        assert_eq!(world.status(&peer), Status::Open, "idle for {idle} s");
        world.advance(us(1));
        assert_eq!(world.reason(&peer), Some(CloseReason::SlowProducer), "idle for {idle} s");
    }
}
