//! The guarantees of a simulation.
#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{join_all, pending};
use zaichik_simulated::{
    BrokerConfig, Client, EmbeddedBroker, Outgoing, Simulation, Task, TopicOptions, now, sleep, spawn,
    timeout,
};

const HOUR: Duration = Duration::from_hours(1);

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid")
}

/// Several workers publish and several read, for an hour; returns what they saw, in order.
fn trace(seed: u64) -> Vec<String> {
    let trace = Rc::new(RefCell::new(Vec::new()));
    let begin = Rc::new(RefCell::new(None));
    let note = {
        let (trace, begin) = (Rc::clone(&trace), Rc::clone(&begin));
        move |what: String| {
            let begin = *begin.borrow_mut().get_or_insert_with(now);
            trace.borrow_mut().push(format!("{:?} {what}", now().duration_since(begin)));
        }
    };
    Simulation::with_seed(seed).run(async {
        let broker = broker();
        let admin = broker.client();
        let options = TopicOptions::new().retention_ttl(HOUR).compaction_window(HOUR);
        admin.create_topic("t", options).await.expect("created");
        note(format!("instance {:?}", admin.instance()));
        let mut tasks: Vec<Task<()>> = Vec::new();
        for worker in 0..3 {
            let (client, note) = (broker.client(), note.clone());
            tasks.push(spawn(async move {
                for round in 0..10_u64 {
                    let message = Outgoing::new(format!("{worker}.{round}")).key(format!("{}", round % 7));
                    let receipt = client.publish("t", message).await.expect("accepted");
                    note(format!("{worker} published {receipt:?}"));
                    sleep(Duration::from_mins(round)).await;
                }
            }));
        }
        for worker in 0..3 {
            let (client, note) = (broker.client(), note.clone());
            tasks.push(spawn(async move {
                let mut subscription = client.subscribe("t").await.expect("subscribed");
                while let Some(received) = timeout(HOUR, subscription.next_message()).await {
                    let message = received.expect("no error").expect("it continues");
                    note(format!(
                        "{worker} got {} of {:?}: {:?}",
                        message.offset, message.timestamp, message.body
                    ));
                    message.nack(Duration::from_secs(worker)).await.expect("nacked");
                    let again = subscription.next_message().await.expect("no error").expect("it continues");
                    again.commit().await.expect("committed");
                }
            }));
        }
        join_all(tasks).await;
        note(format!("{:?}", broker.stats().expect("it runs")));
    });
    trace.take()
}

#[test]
fn runs_with_the_same_seed_are_identical() {
    for seed in [0, 7] {
        let first = trace(seed);
        assert!(first.len() > 50, "{first:?}");
        assert_eq!(first, trace(seed));
    }
}

#[test]
fn different_seeds_run_different_tasks_first() {
    let first_to_publish = |seed| {
        Simulation::with_seed(seed).run(async {
            let broker = broker();
            let publish = |name: &'static str| {
                let client = broker.client();
                spawn(async move { client.publish("t", name).await.expect("accepted").first_offset })
            };
            let tasks = [publish("a"), publish("b")];
            join_all(tasks).await
        })
    };
    let outcomes: Vec<_> = (0..20).map(first_to_publish).collect();
    for order in [[Some(0), Some(1)], [Some(1), Some(0)]] {
        assert!(outcomes.iter().any(|outcome| *outcome == order), "{order:?} never happened");
    }
}

#[test]
fn time_is_exact_and_passes_instantly() {
    let mut simulation = Simulation::new();
    let began = simulation.run(async {
        let began = now();
        sleep(Duration::from_nanos(1)).await;
        assert_eq!(now().duration_since(began), Duration::from_nanos(1));
        assert_eq!(timeout(HOUR, pending::<()>()).await, None);
        assert_eq!(timeout(HOUR, async { "at once" }).await, Some("at once"));
        began
    });
    assert_eq!(simulation.elapsed(), HOUR + Duration::from_nanos(1));
    assert_eq!(now(), began + simulation.elapsed(), "time stops outside of a run");
}

#[test]
fn tasks_continue_in_the_next_run() {
    let mut simulation = Simulation::new();
    let (broker, client, task) = simulation.run(async {
        let broker = broker();
        let client = broker.client();
        client.publish("t", "before a reader").await.expect("accepted");
        let mut subscription = client.subscribe("t").await.expect("subscribed");
        let task = spawn(async move {
            let message = subscription.next_message().await.expect("no error").expect("it continues");
            sleep(HOUR).await;
            message.body.clone()
        });
        (broker, client, task)
    });
    let body = simulation.run(async {
        client.publish("t", "between runs").await.expect("accepted");
        task.await
    });
    assert_eq!(body, "between runs");
    assert_eq!(simulation.elapsed(), HOUR);
    // Dropped in another order than they were created, and outside a run.
    drop(client);
    drop(simulation);
    drop(broker);
}

#[test]
fn a_client_may_outlive_its_simulation() {
    let client: Client = Simulation::new().run(async {
        let client = broker().client();
        client.clone().publish("t", "x").await.expect_err("its broker was dropped");
        client
    });
    let elsewhere = std::thread::Builder::new().spawn(move || drop(client)).expect("a thread");
    elsewhere.join().expect("no panic");
}

#[test]
#[should_panic(expected = "the simulation is stuck: the program and 1 background tasks wait")]
fn a_program_that_nothing_can_wake_is_reported() {
    Simulation::new().run(async { spawn(pending::<()>()).await });
}

#[test]
#[should_panic(expected = "the simulation has not ended within 86400s")]
fn waiting_for_a_message_ends_at_the_time_limit() {
    Simulation::new()
        .time_limit(HOUR * 24)
        .run(async {
            let broker = broker();
            let client = broker.client();
            let mut subscription = client.subscribe("t").await.expect("subscribed");
            subscription.next_message().await
        })
        .expect("not reached");
}

#[test]
#[should_panic(expected = "a panic of the task")]
fn a_panic_in_a_task_ends_the_run() {
    Simulation::new().run(async {
        let broker = broker();
        let client = broker.client();
        client.ping().await.expect("connected");
        drop(spawn(async { panic!("a panic of the task") }));
        sleep(HOUR).await;
    });
}

#[test]
#[should_panic(expected = "a simulation runs on this thread already")]
fn a_simulation_does_not_run_inside_another() {
    Simulation::new().run(async { Simulation::new().run(async {}) });
}

#[test]
#[should_panic(expected = "no simulation runs on this thread: call this inside Simulation::run")]
fn nothing_starts_outside_a_simulation() {
    drop(spawn(async {}));
}
