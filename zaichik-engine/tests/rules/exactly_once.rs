//! Rules P-06, X-03 in simulated time: short scenarios whose connection breaks at every byte, or between any two steps.

use zaichik_client::{
    Answer, Batch, ClientConfig, DurableOptions, Event, Link, ProducerIdentity, PublishOptions, RequestError,
    RequestId, SubscribeOptions, SubscriptionId,
};
use zaichik_proto::RefusalCode;

use crate::world::{RemoteId, Sub, World, ms, record, secs};

const FENCED: RefusalCode = RefusalCode::SubscriptionFenced;

/// The messages to process.
const INPUTS: u64 = 2;

/// More bytes than any scenario needs in one direction.
const BYTES: usize = 1_000;

/// Steps after which a scenario counts as hanging.
const STEPS: usize = 5_000;

/// A world whose topics keep everything.
fn keeping() -> World {
    World::with(|config| config.topic_defaults.retention_ttl_micros = u64::MAX).checked_at_rest()
}

fn client(world: &mut World, id: u128, change: impl FnOnce(&mut ClientConfig)) -> RemoteId {
    world.client_with(|config| {
        config.producer = Some(ProducerIdentity::new(id));
        config.retry_first_connect = true;
        change(config);
    })
}

/// The whole contents of a topic.
fn all(world: &mut World, topic: &str) -> Vec<String> {
    let new_reader = world.connect();
    world.ask(&new_reader, new_reader.subscribe_to(Sub::new(1, topic).window(0)));
    new_reader.stream()
}

/// Runs a scenario for each byte after which a connection can break, in each direction. The scenario returns whether
/// the connection did break; the first one that did not is the last.
fn at_each_byte(run: impl Fn(usize, usize) -> bool) {
    let to_broker = (0..BYTES).take_while(|at| run(*at, usize::MAX)).count();
    let from_broker = (0..BYTES).take_while(|at| run(usize::MAX, *at)).count();
    for broke in [to_broker, from_broker] {
        assert!((50..BYTES - 1).contains(&broke), "{to_broker} {from_broker}");
    }
}

fn publish(world: &mut World, client: RemoteId, body: &str) -> RequestId {
    let records = [record(body.as_bytes())];
    world.call(client, |client, now| client.publish(now, "t", &records, PublishOptions::new())).unwrap()
}

/// The offset of an accepted publish, once its connection is restored.
fn offset_of(world: &mut World, client: RemoteId, request: RequestId) -> u64 {
    let answer = world.answer(client, request);
    let Some(Ok(Answer::Published(receipt))) = answer else { panic!("{answer:?}") };
    receipt.offset(0).unwrap()
}

#[test]
fn p_06_publishes_whose_connection_breaks_at_each_byte_are_stored_once_in_order() {
    at_each_byte(|to_broker, from_broker| {
        let mut world = keeping();
        let client = client(&mut world, 1, |_| {});
        world.break_after(client, to_broker, from_broker);
        let mut requests = Vec::new();
        for body in ["a", "b"] {
            requests.push(publish(&mut world, client, body));
        }
        let mut batch = Batch::new();
        batch.publish("t", &[record(b"c")]).publish("u", &[record(b"x")]).publish("t", &[record(b"d")]);
        let options = PublishOptions::new();
        let together = world.call(client, |client, now| client.send_batch(now, &batch, options)).unwrap();
        requests.push(publish(&mut world, client, "e"));
        world.advance(secs(5));
        let offsets: Vec<_> =
            requests.into_iter().map(|request| offset_of(&mut world, client, request)).collect();
        assert_eq!(offsets, [0, 1, 4], "{to_broker} {from_broker}");
        assert!(matches!(world.answer(client, together), Some(Ok(Answer::Batched(_)))));
        assert_eq!(all(&mut world, "t"), ["1/0=a", "1/1=b", "1/2=c", "1/3=d", "1/4=e"]);
        assert_eq!(all(&mut world, "u"), ["1/0=x"]);
        world.connects(client) > 1
    });
}

/// The first connection breaks with the request half written, written, or half answered; the second one anywhere.
#[test]
fn p_06_a_retry_whose_connection_breaks_at_each_byte_is_stored_once() {
    for first in [(40, usize::MAX), (usize::MAX, 68), (usize::MAX, 80)] {
        at_each_byte(|to_broker, from_broker| {
            let mut world = keeping();
            let client = client(&mut world, 1, |_| {});
            world.break_after(client, first.0, first.1);
            let request = publish(&mut world, client, "a");
            world.settle();
            assert!(matches!(world.link(client), Link::Connect { .. }), "the first connection broke");
            world.break_after(client, to_broker, from_broker);
            world.advance(secs(5));
            assert_eq!(offset_of(&mut world, client, request), 0);
            assert_eq!(all(&mut world, "t"), ["1/0=a"]);
            world.connects(client) > 2
        });
    }
}

/// Publishes an output to "out" for each message of "in", in one batch with the message's commit.
struct Worker {
    client: RemoteId,
    subscribe: RequestId,
    subscription: SubscriptionId,
    /// The batch in flight, and the offset that it commits.
    sending: Option<(RequestId, u64)>,
    done: u64,
    is_over: bool,
}

impl Worker {
    fn new(world: &mut World, id: u128, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let client = client(world, id, change);
        let options = SubscribeOptions::new().durable(DurableOptions::new("worker"));
        let asked = world.call(client, |client, now| client.subscribe(now, "in", options));
        let (subscribe, subscription) = asked.unwrap();
        Self { client, subscribe, subscription, sending: None, done: 0, is_over: false }
    }

    /// Makes all progress that is possible now.
    fn act(&mut self, world: &mut World) {
        match world.answer_so_far(self.client, self.subscribe) {
            None => {}
            Some(Ok(Answer::Subscribed(begun))) => self.done = begun.start,
            Some(_) => self.is_over = true,
        }
        if let Some((request, offset)) = self.sending
            && let Some(answer) = world.answer_so_far(self.client, request)
        {
            self.sending = None;
            match answer {
                Ok(_) => self.done = offset + 1,
                Err(error) => self.failed(&error),
            }
        }
        self.is_over |= self.done == INPUTS || matches!(world.link(self.client), Link::Closed(_));
        if self.is_over || self.sending.is_some() {
            return;
        }
        let subscription = self.subscription;
        match world.call(self.client, |client, _| client.poll_event(subscription)) {
            Some(Event::Message(message)) => {
                let output = [b"f(", &message.body[..], b")"].concat();
                let mut batch = Batch::new();
                batch.publish("out", &[record(&output)]).commit(subscription, message.offset);
                let options = PublishOptions::new();
                match world.call(self.client, |client, now| client.send_batch(now, &batch, options)) {
                    Ok(request) => self.sending = Some((request, message.offset)),
                    Err(error) => self.failed(&error),
                }
            }
            Some(Event::Fenced | Event::Refused(_) | Event::Ended(_)) => self.is_over = true,
            _ => {}
        }
    }

    fn failed(&mut self, error: &RequestError) {
        if matches!(error, RequestError::NotApplied { .. }) {
            // It had no effect, and the message is redelivered.
            return;
        }
        let is_fenced = matches!(error, RequestError::Refused { refusal, .. } if refusal.code == FENCED);
        // Happens only to a client that does not reconnect.
        let is_lost = matches!(error, RequestError::Unknown { .. } | RequestError::Closed);
        assert!(is_fenced || is_lost, "{error}");
        self.is_over = true;
    }

    /// Works for up to this many steps of the world, while there is work.
    fn run(&mut self, world: &mut World, steps: usize) {
        for _ in 0..steps {
            self.act(world);
            if self.is_over {
                return;
            }
            if !world.step() {
                world.advance(ms(100));
            }
        }
    }

    /// Works to the end.
    fn finish(&mut self, world: &mut World) {
        self.run(world, STEPS);
        assert!(self.is_over, "it hangs");
    }
}

/// A world with messages to process.
fn with_inputs() -> World {
    let mut world = keeping();
    let peer = world.connect();
    for number in 0..INPUTS {
        world.ask(&peer, peer.publish("in", &number.to_string()));
    }
    world
}

/// There is exactly one output for each input, in order.
fn check(world: &mut World, how: &str) {
    world.settle();
    let expected: Vec<_> = (0..INPUTS).map(|number| format!("1/{number}=f({number})")).collect();
    assert_eq!(all(world, "out"), expected, "{how}");
}

/// A second worker replaces the first and finishes the work.
fn take_over(world: &mut World, how: &str) {
    let mut next = Worker::new(world, 2, |_| {});
    next.finish(world);
    assert_eq!(next.done, INPUTS, "{how}");
}

#[test]
fn x_03_consume_transform_produce_breaks_at_each_byte() {
    at_each_byte(|to_broker, from_broker| {
        let mut world = with_inputs();
        let mut worker = Worker::new(&mut world, 1, |_| {});
        world.break_after(worker.client, to_broker, from_broker);
        worker.finish(&mut world);
        assert_eq!(worker.done, INPUTS, "{to_broker} {from_broker}");
        check(&mut world, &format!("{to_broker} {from_broker}"));
        world.connects(worker.client) > 1
    });
}

#[test]
fn x_03_consume_transform_produce_by_workers_that_die_at_each_byte() {
    at_each_byte(|to_broker, from_broker| {
        let how = format!("{to_broker} {from_broker}");
        let mut world = with_inputs();
        let mut worker = Worker::new(&mut world, 1, |config| config.reconnect = false);
        world.break_after(worker.client, to_broker, from_broker);
        worker.finish(&mut world);
        let died = worker.done < INPUTS;
        take_over(&mut world, &how);
        check(&mut world, &how);
        died
    });
}

#[test]
fn x_03_consume_transform_produce_by_workers_that_die_between_any_steps() {
    let died = (0..STEPS).take_while(|steps| {
        let how = format!("{steps} steps");
        let mut world = with_inputs();
        let mut worker = Worker::new(&mut world, 1, |_| {});
        worker.run(&mut world, *steps);
        let died = worker.done < INPUTS;
        world.break_link(worker.client, false);
        take_over(&mut world, &how);
        check(&mut world, &how);
        died
    });
    assert!((10..STEPS - 1).contains(&died.count()));
}

/// A worker is slow, not dead: its bytes arrive up to some byte, and the rest after another worker has finished.
#[test]
fn x_03_consume_transform_produce_with_a_worker_that_is_late_at_each_byte() {
    let late = (0..BYTES).take_while(|sent| {
        let how = format!("{sent} bytes");
        let mut world = with_inputs();
        let mut worker = Worker::new(&mut world, 1, |_| {});
        world.hold_after(worker.client, *sent);
        // Far less than the time that it waits for an answer.
        worker.run(&mut world, 60);
        let late = worker.done < INPUTS;
        let mut next = Worker::new(&mut world, 2, |_| {});
        next.finish(&mut world);
        world.release(worker.client);
        worker.finish(&mut world);
        // The late worker may have subscribed first, which takes over from the other one.
        assert!(worker.done == INPUTS || next.done == INPUTS, "{how}");
        check(&mut world, &how);
        late
    });
    assert!((50..BYTES - 1).contains(&late.count()));
}
