//! Connections over in-memory streams, polled by hand: only woken tasks run.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::SystemTime;

use zaichik_engine::{Broker, BrokerConfig, Seed};
use zaichik_proto::{AckLevel, HEADER_LEN};
use zaichik_testkit::{RawClient, record, requests};

use super::*;
use crate::local::LocalIo;
use crate::manual::Task;
use crate::server::turnstile::INSIDE;
use crate::server::world::{Peer, World};
use crate::system_clock;
use crate::timeline::Timeline;

fn publish(raw: &RawClient) {
    raw.publish_with("t", AckLevel::None, &[record(b"x")]);
}

/// A publish without an acknowledgement.
fn quiet_publish(bodies: &[&[u8]]) -> BytesMut {
    let records: Vec<_> = bodies.iter().map(|body| record(body)).collect();
    requests(|raw| raw.publish_with("t", AckLevel::None, &records))
}

#[test]
fn every_reader_is_woken_by_one_publish() {
    let mut world = World::new();
    let readers: Vec<usize> = (0..700).map(|_| world.connect()).collect();
    for reader in &readers {
        world.subscribe(*reader, 0);
    }
    let writer = world.connect();
    world.send(writer, publish);
    for reader in readers {
        assert_eq!(world.peers[reader].read().take_stream(), ["1/0=x"]);
    }
}

#[test]
fn wakes_survive_a_publisher_that_is_gone_at_once() {
    let mut world = World::new();
    let readers: Vec<usize> = (0..300).map(|_| world.connect()).collect();
    for reader in &readers {
        world.subscribe(*reader, 0);
    }
    let writer = world.connect();
    publish(&world.peers[writer].raw);
    world.peers[writer].write();
    // It is gone before its task reads the publish, so its session ends in the same exchange.
    world.peers[writer].io = LocalIo::pair().0;
    // Housekeeping, the first task, would wake the readers too, but it may be late.
    while let Some(task) = world.tasks[1..].iter_mut().find(|task| task.is_due()) {
        task.poll();
    }
    assert!(world.is_over(writer));
    for reader in readers {
        assert_eq!(world.peers[reader].read().take_stream(), ["1/0=x"]);
    }
}

#[test]
fn s12_a_broker_that_failed_notifies_every_connection() {
    let mut world = World::new();
    let peers = [world.connect(), world.connect()];
    let shared = Arc::clone(&world.shared);
    let failed = catch_unwind(AssertUnwindSafe(|| shared.inspect(|_| panic!("the broker fails"))));
    assert!(failed.is_err());
    world.run();
    for peer in peers {
        assert_eq!(world.peers[peer].read().take_control(), ["fatal Internal"]);
    }
    assert!(world.shared.accept().is_err());
    // Both ends are closed.
    world.peers.clear();
    world.run();
    assert!(peers.into_iter().all(|peer| world.is_over(peer)));
    assert!(world.shared.tasks().none(Waker::noop()), "housekeeping ended as well");
}

#[test]
fn a_peer_that_shut_down_its_side_is_still_answered() {
    let mut world = World::new();
    let peer = world.connect();
    world.peers[peer].raw.ping(5);
    world.peers[peer].write();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(world.peers[peer].io.poll_shutdown(&mut cx).is_ready());
    world.run();
    assert_eq!(world.peers[peer].read().take_control(), ["pong 5"]);
    assert!(world.is_over(peer));
    assert_eq!(world.shared.inspect(Broker::session_count), Ok(0));
}

#[test]
fn a_connection_that_is_dropped_is_forgotten() {
    let mut world = World::new();
    let peer = world.connect();
    assert_eq!(world.shared.inspect(Broker::session_count), Ok(1));
    world.tasks[peer + 1].future = None;
    assert_eq!(world.shared.inspect(Broker::session_count), Ok(0));
    assert!(world.shared.tasks().no_connections(Waker::noop()));
}

#[test]
fn a_connection_with_a_full_buffer_is_read_again() {
    let mut config = BrokerConfig::default();
    (config.wire.max_message, config.wire.max_frame) = (60 << 10, 64 << 10);
    let body = vec![7; 64 << 10];
    let (first, rest) = (&body[..40 << 10], &body[..20 << 10]);
    let fixed = quiet_publish(&[first, rest]).len() - rest.len();
    let frame = quiet_publish(&[first, &body[..body.len() + HEADER_LEN - fixed]]);
    assert_eq!(frame.len(), (64 << 10) + HEADER_LEN, "the largest frame");
    let mut world = World::with(config);
    let writer = world.connect();
    // All but the last byte of the first frame, so that the buffer is full before the second one is complete.
    let mut bytes = frame.repeat(4);
    let last = bytes.split_off(frame.len() - 1);
    world.send(writer, |raw| raw.send_bytes(&bytes));
    world.send(writer, |raw| raw.send_bytes(&last));
    world.send(writer, |raw| raw.ping(5));
    assert_eq!(world.peers[writer].read().take_control(), ["pong 5"]);
}

#[test]
fn a_publisher_is_read_again_after_memory_was_freed() {
    let mut config = BrokerConfig::default();
    (config.wire.max_message, config.wire.max_frame) = (60 << 10, 64 << 10);
    config.memory = 4 << 20;
    let mut world = World::with(config);
    let (reader, writer) = (world.connect(), world.connect());
    world.subscribe(reader, 1);
    // Kept until the reader commits it, which it never does.
    let message = quiet_publish(&[&vec![7; 59 << 10]]);
    for _ in 0..60 {
        world.peers[writer].raw.send_bytes(&message);
        world.peers[writer].write();
        world.run();
    }
    world.peers[writer].raw.ping(5);
    world.peers[writer].write();
    world.run();
    let control = world.peers[writer].read().take_control();
    assert!(control.is_empty(), "it is not read while memory is short: {control:?}");
    world.tasks[reader + 1].future = None;
    world.run();
    world.send(writer, |_| ());
    assert_eq!(world.peers[writer].read().take_control(), ["pong 5"]);
}

#[test]
fn s14_others_are_polled_between_two_exchanges_that_used_their_share() {
    let mut world = World::new();
    let (flooding, other) = (world.connect(), world.connect());
    let last = (0..2_500).fold(0, |_, _| world.peers[flooding].raw.remove_durable("t", "n"));
    world.peers[flooding].write();
    assert_eq!(world.peers[flooding].raw.queued(), 0, "the stream accepts all of it");
    let mut polls = 0;
    while world.tasks[flooding + 1].is_due() {
        world.tasks[flooding + 1].poll();
        world.peers[other].raw.ping(7);
        world.peers[other].write();
        world.tasks[other + 1].poll();
        assert_eq!(world.peers[other].read().take_control(), ["pong 7"]);
        world.peers[flooding].read();
        polls += 1;
    }
    assert!(world.peers[flooding].raw.take_answer(last).is_some(), "all of it was applied");
    // An exchange applies 256 of these requests; eight exchanges in one poll would be 2,048.
    assert!(polls >= 9, "{polls} polls");
}

/// Otherwise each request of another connection waits for a share of all of them.
#[test]
fn s14_few_busy_connections_are_ready_at_a_time() {
    let mut world = World::new();
    let flooding: Vec<_> = (0..50).map(|_| world.connect()).collect();
    let mut last = Vec::new();
    for peer in &flooding {
        last.push((0..2_500).fold(0, |_, _| world.peers[*peer].raw.remove_durable("t", "n")));
        world.peers[*peer].write();
    }
    for peer in &flooding {
        world.tasks[peer + 1].poll();
    }
    let ready = flooding.iter().filter(|peer| world.tasks[**peer + 1].is_due()).count();
    assert_eq!(ready, INSIDE);
    while world.tasks.iter().any(Task::is_due) {
        world.run();
        for peer in &flooding {
            world.peers[*peer].read();
        }
    }
    for (peer, last) in flooding.into_iter().zip(last) {
        assert!(world.peers[peer].raw.take_answer(last).is_some(), "all of them are served");
    }
}

/// Otherwise many new connections would be served before all others, each with a whole share.
#[test]
fn s14_connections_that_become_busy_wait_before_their_first_share_if_many_are_busy() {
    let mut world = World::new();
    let flooding: Vec<_> = (0..50).map(|_| world.connect()).collect();
    let mut requests = Vec::new();
    for peer in &flooding {
        let raw = &world.peers[*peer].raw;
        requests.push((0..2_500).map(|_| raw.remove_durable("t", "n")).collect::<Vec<_>>());
        world.peers[*peer].write();
    }
    for peer in &flooding {
        world.tasks[peer + 1].poll();
    }
    // A share is 256 of them; an idle connection has room for about 30.
    let mut begun =
        |index: usize| world.peers[flooding[index]].read().take_answer(requests[index][200]).is_some();
    let begun: Vec<usize> = (0..flooding.len()).filter(|index| begun(*index)).collect();
    assert_eq!(begun, (0..=INSIDE).collect::<Vec<_>>(), "until more than {INSIDE} were busy");
}

/// A short request can be as much work as many bytes.
#[test]
fn s14_connections_whose_few_bytes_are_much_work_are_ready_in_turn() {
    let mut world = World::new();
    let working: Vec<_> = (0..50).map(|_| world.connect()).collect();
    let remove = |raw: &RawClient| (0..100).fold(0, |_, _| raw.remove_durable("t", "n"));
    for peer in &working {
        let last = world.send(*peer, remove);
        world.run();
        assert!(world.peers[*peer].read().take_answer(last).is_some());
    }
    let mut last = Vec::new();
    for peer in &working {
        last.push(remove(&world.peers[*peer].raw));
        world.peers[*peer].write();
    }
    for peer in &working {
        world.tasks[peer + 1].poll();
    }
    let ready = working.iter().filter(|peer| world.tasks[**peer + 1].is_due()).count();
    assert_eq!(ready, INSIDE);
    world.run();
    for (peer, last) in working.into_iter().zip(last) {
        assert!(world.peers[peer].read().take_answer(last).is_some(), "all of them are served");
    }
}

/// A full share of somebody else would be a long time for what little it has left, which may even be work for others.
#[test]
fn s14_a_connection_with_little_more_to_do_does_not_wait_for_busy_ones() {
    // An answer fills the output, so each request has a turn of its own.
    let mut config = BrokerConfig::default();
    config.output_buffer = 1;
    let mut world = World::with(config);
    let flooding: Vec<_> = (0..50).map(|_| world.connect()).collect();
    let light = world.connect();
    for peer in &flooding {
        for _ in 0..200 {
            world.peers[*peer].raw.remove_durable("t", "n");
        }
        world.peers[*peer].write();
    }
    for _ in 0..20 {
        for peer in &flooding {
            world.tasks[peer + 1].poll();
        }
    }
    let ready = flooding.iter().filter(|peer| world.tasks[**peer + 1].is_due()).count();
    assert_eq!(ready, INSIDE, "the others wait");
    for nonce in 0..10 {
        world.peers[light].raw.ping(nonce);
    }
    world.peers[light].write();
    let mut polls = 0;
    while world.tasks[light + 1].is_due() {
        world.tasks[light + 1].poll();
        polls += 1;
    }
    assert_eq!(world.peers[light].read().take_control().len(), 10, "it is served without them");
    assert!(polls > 1, "but lets others go on in between");
}

#[test]
fn a_connection_polls_again_for_a_while_after_bytes_moved() {
    let mut world = World::new();
    let peer = world.connect();
    world.shared.set_busy_poll(Duration::from_hours(1));
    assert!(!world.tasks[peer + 1].is_due(), "no bytes have moved since");
    world.peers[peer].raw.ping(7);
    world.peers[peer].write();
    for _ in 0..5 {
        assert!(world.tasks[peer + 1].is_due(), "it keeps polling");
        world.tasks[peer + 1].poll();
    }
    assert_eq!(world.peers[peer].read().take_control(), ["pong 7"]);

    let mut world = World::new();
    let peer = world.connect();
    world.shared.set_busy_poll(Duration::from_micros(1));
    world.peers[peer].raw.ping(7);
    world.peers[peer].write();
    // It sleeps after that time.
    world.run();
    assert!(!world.tasks[peer + 1].is_due());
}

thread_local! {
    /// A test's monotonic clock, and the time of its wall clock.
    static CLOCKS: Cell<(Instant, Duration)> = Cell::new((system_clock::monotonic(), Duration::ZERO));
}

/// A timer of this monotonic clock.
struct Manual;

impl Timer for Manual {
    fn poll_until(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline <= CLOCKS.get().0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[test]
fn s4_a_pause_between_the_accept_and_the_first_turn_does_not_count() {
    let clock = Timeline::starting(|| CLOCKS.get().0, || SystemTime::UNIX_EPOCH + CLOCKS.get().1);
    let broker = Broker::new(BrokerConfig::default(), Seed::new(1, 2)).expect("a valid configuration");
    let shared = Shared::new(broker, clock);
    let accepted = shared.accept().expect("sound").expect("running");
    // The machine is suspended for an hour.
    let pass = |monotonic, wall| {
        let (at, time) = CLOCKS.get();
        CLOCKS.set((at + monotonic, time + wall));
    };
    pass(Duration::from_secs(1), Duration::from_secs(3_601));
    let (io, there) = LocalIo::pair();
    let mut peer = Peer { io, received: BytesMut::new(), raw: RawClient::new() };
    let mut task = Task::new(Connection::new(there, "test", Manual, accepted, &shared));
    task.poll();
    assert!(peer.read().take_control().is_empty(), "1 s of 5 s for the handshake is over");
    pass(Duration::from_secs(4), Duration::from_secs(4));
    task.poll();
    assert_eq!(peer.read().take_control(), ["fatal HandshakeTimeout"]);
}
