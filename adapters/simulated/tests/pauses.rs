//! Brokers and clients whose process was stopped, whose machine was suspended, or whose wall clock was set back.
#![expect(clippy::expect_used, reason = "helpers of tests are not test functions")]

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use zaichik_simulated::{
    BrokerConfig, Client, ClientError, Counter, EmbeddedBroker, Io, LocalIo, Server, Simulation, now,
    set_clock_back, sleep, spawn, stop_process, suspend_machine,
};

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

/// The two ways in which a program does not run.
const PAUSES: [fn(Duration); 2] = [stop_process, suspend_machine];

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start(BrokerConfig::default()).expect("the defaults are valid")
}

#[test]
fn s4_a_pause_breaks_no_connection_at_any_time_of_the_heartbeat() {
    for pause in PAUSES {
        for idle in [0, 29, 31, 59, 61, 89] {
            Simulation::new().run(async {
                let broker = broker();
                let client = broker.client();
                client.ping().await.expect("connected");
                sleep(idle * SECOND).await;
                for _ in 0..3 {
                    pause(HOUR);
                    sleep(40 * SECOND).await;
                }
                client.ping().await.expect("connected");
                assert_eq!(broker.stats().expect("it runs").connections, 1, "after {idle} s");
            });
        }
    }
}

#[test]
fn s4_a_peer_that_does_not_read_has_its_time_after_a_pause() {
    for pause in PAUSES {
        Simulation::new().run(async {
            let broker = broker();
            let mut stream = broker.stream().expect("it runs");
            sleep(4 * SECOND).await;
            pause(HOUR);
            // The handshake has 5 s, of which 4 are over.
            sleep(SECOND / 2).await;
            assert!(!is_over(&mut stream).await);
            sleep(2 * SECOND).await;
            assert!(is_over(&mut stream).await);
        });
    }
}

/// Whether the broker has closed the stream.
async fn is_over(stream: &mut LocalIo) -> bool {
    let mut received = bytes::BytesMut::new();
    poll_fn(|cx| match stream.poll_read(cx, &mut received, 1024) {
        Poll::Ready(read) => Poll::Ready(read.is_err() || !received.is_empty() || matches!(read, Ok(0))),
        Poll::Pending => Poll::Ready(false),
    })
    .await
}

#[test]
fn a4_the_delay_of_a_nack_counts_no_pause() {
    for pause in PAUSES {
        Simulation::new().run(async {
            let broker = broker();
            let client = broker.client();
            let mut subscription = client.subscribe("t").await.expect("subscribed");
            client.publish("t", "a").await.expect("accepted");
            let message = subscription.next_message().await.expect("no error").expect("a message");
            message.nack(10 * SECOND).await.expect("nacked");
            sleep(2 * SECOND).await;
            pause(HOUR);
            let resumed = now();
            let again = subscription.next_message().await.expect("no error").expect("a message");
            assert_eq!(again.attempt, 2);
            let rest = now() - resumed;
            // Up to a second before a stop does not count either.
            assert!((8 * SECOND..=9 * SECOND).contains(&rest), "{rest:?}");
        });
    }
}

#[test]
fn s4_a_request_whose_deadline_passed_in_a_pause_fails_after_it() {
    for pause in PAUSES {
        Simulation::new().run(async {
            let server = Server::bind("broker:8889", BrokerConfig::default()).await.expect("a free port");
            let handle = server.broker().handle();
            let serving = spawn(server.serve());
            let client = Client::connect("broker:8889").await.expect("it listens");
            handle.shutdown(Duration::ZERO);
            serving.await.expect("an orderly end");
            let publish = spawn(async move {
                let published = client.publish("t", "a").deadline(HOUR / 2).await;
                (now(), published)
            });
            sleep(SECOND).await;
            pause(HOUR);
            let resumed = now();
            let (failed, published) = publish.await;
            let error = published.expect_err("there is no broker");
            assert!(matches!(error, ClientError::Request(_)), "{error:?}");
            assert!(failed - resumed <= 2 * SECOND, "{:?}", failed - resumed);
        });
    }
}

/// Each step of a second or more counts once, however long the broker needs to fall back to the wall clock; timestamps
/// and lives go on.
#[test]
fn o5_steps_back_of_the_wall_clock_are_counted_and_reported_over_the_wire() {
    Simulation::new().run(async {
        let broker = broker();
        let client = broker.client();
        let mut subscription = client.subscribe("t").await.expect("subscribed");
        let mut last = 0;
        for (back, counted) in
            [(Duration::ZERO, 0), (SECOND / 2, 0), (SECOND, 1), (10 * SECOND, 2), (HOUR, 3)]
        {
            set_clock_back(back);
            for _ in 0..3 {
                sleep(SECOND).await;
                client.publish("t", "a").await.expect("accepted");
                let message = subscription.next_message().await.expect("no error").expect("a message");
                assert!(message.timestamp.as_micros() > last, "timestamps increase");
                last = message.timestamp.as_micros();
                message.commit().await.expect("committed");
            }
            let info = client.broker_info().await.expect("it answers");
            assert_eq!(info.counter(Counter::ClockStepsBack), Some(counted), "after {back:?} back");
            assert_eq!(broker.stats().expect("it runs").clock_steps_back, counted);
        }
        assert_eq!(broker.stats().expect("it runs").connections, 1);
    });
}
