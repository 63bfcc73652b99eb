//! The network of a simulation: servers, clients, and broken connections.
#![expect(clippy::expect_used, reason = "test helpers are not test functions")]

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use zaichik_driver::connect_to_any;
use zaichik_simulated::{
    BrokerConfig, BrokerHandle, Client, Counter, Runtime, Server, Simulated, SimulatedIo, Simulation, Task,
    TopicOptions, break_connections, now, sleep, spawn,
};

const HOUR: Duration = Duration::from_hours(1);

/// A broker on a port, until its handle stops it.
async fn serve(address: &str) -> (BrokerHandle, Task<()>) {
    let config = BrokerConfig::default();
    let server = Server::bind(address, config).await.expect("the port is free");
    let handle = server.broker().handle();
    (handle, spawn(async { server.serve().await.expect("an orderly end") }))
}

#[test]
fn a_client_reconnects_after_broken_connections_and_loses_nothing() {
    let mut repeated = 0;
    for seed in 0..20 {
        Simulation::with_seed(seed).run(async {
            let (handle, serving) = serve("broker:8889").await;
            let client = Client::connect("broker:8889").await.expect("it listens");
            client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
            let mut subscription = client.subscribe("t").durable("d").await.expect("subscribed");
            for number in 0..10_u64 {
                // Long enough that the client resets its backoff.
                sleep(Duration::from_mins(1)).await;
                let publishing = client.publish("t", number.to_string()).enqueue().expect("there is room");
                let began = now();
                // The seed decides whether the message or its answer is in transit at that time.
                assert_eq!(spawn(async { break_connections() }).await, 1);
                let receipt = publishing.await.expect("resent");
                assert_eq!(receipt.offset(0), Some(number), "stored once");
                let took = now().duration_since(began);
                assert!(took <= Duration::from_millis(100), "{took:?}: the first attempt is early");
                let message = subscription.next_message().await.expect("no error").expect("it continues");
                assert_eq!(message.offset, number);
                message.commit().await.expect("committed");
            }
            let info = client.broker_info().await.expect("connected");
            let counter = info.counters.iter().find(|value| value.counter == Counter::Repeated);
            repeated += counter.expect("it is counted").value;
            client.close().await.expect("no answer is outstanding");
            handle.shutdown(Duration::ZERO);
            serving.await;
        });
    }
    assert!(
        (1..200).contains(&repeated),
        "{repeated} of 200: sometimes only the answer is lost, and sometimes the message"
    );
}

#[test]
fn a_client_reconnects_to_a_broker_that_starts_an_hour_later() {
    Simulation::new().run(async {
        let (first, serving) = serve("broker:8889").await;
        let client = Client::connect("broker:8889").await.expect("it listens");
        let mut subscription = client.subscribe("t").await.expect("subscribed");
        first.shutdown(Duration::ZERO);
        serving.await;
        sleep(HOUR).await;
        let (second, serving) = serve("broker:8889").await;
        client.publish("t", "x").await.expect("accepted");
        assert_eq!(subscription.next_message().await.expect("no error").expect("it continues").body, "x");
        assert_eq!(subscription.losses().restarts, 1);
        second.shutdown(Duration::ZERO);
        serving.await;
    });
}

#[test]
fn a_port_is_taken_until_its_listener_is_dropped() {
    Simulation::new().run(async {
        let refused = Client::connect("broker:8889").await.expect_err("no listener").to_string();
        assert!(refused.contains("broker:8889: no listener on port 8889 of this simulation"), "{refused}");
        let refused = Client::connect("broker").await.expect_err("no port").to_string();
        assert!(refused.contains("broker: not an address; use host:port"), "{refused}");
        let (handle, serving) = serve("broker:8889").await;
        let config = BrokerConfig::default();
        let taken = Server::bind("other:8889", config).await.expect_err("taken").to_string();
        assert_eq!(taken, "cannot listen on other:8889: address in use");
        handle.shutdown(Duration::ZERO);
        serving.await;
        let free = Server::bind("any:0", BrokerConfig::default()).await.expect("a free port");
        let address = free.local_addr().to_string();
        let (handle, serving) =
            (free.broker().handle(), spawn(async { free.serve().await.expect("an orderly end") }));
        Client::connect(&address).await.expect("it listens").ping().await.expect("connected");
        handle.shutdown(Duration::ZERO);
        serving.await;
        drop(serve("broker:8889").await);
    });
}

#[test]
fn busy_polling_does_not_stop_time() {
    let mut simulation = Simulation::new();
    simulation.run(async {
        let config = BrokerConfig::default();
        let server = Server::bind("broker:8889", config).await.expect("the port is free");
        let (handle, server) = (server.broker().handle(), server.busy_poll(HOUR));
        let serving = spawn(async { server.serve().await.expect("an orderly end") });
        let client = Client::connect("broker:8889").await.expect("it listens");
        for _ in 0..2 {
            client.ping().await.expect("connected");
            sleep(HOUR).await;
        }
        handle.shutdown(Duration::ZERO);
        serving.await;
    });
    assert!(simulation.elapsed() >= HOUR * 2);
}

#[test]
fn p4_a_commit_under_a_broken_connection_is_ok_only_when_the_broker_has_it() {
    let mut took_long = 0;
    for seed in 0..20 {
        Simulation::with_seed(seed).run(async {
            let server =
                Server::bind("broker:8889", BrokerConfig::default()).await.expect("the port is free");
            let witness = server.broker().client();
            let _serving = spawn(server.serve());
            let client = Client::connect("broker:8889").await.expect("it listens");
            client.create_topic("t", TopicOptions::new().retain_forever()).await.expect("created");
            let mut subscription = client.subscribe("t").durable("d").window(4).await.expect("subscribed");
            for number in 0..10_u64 {
                sleep(Duration::from_mins(1)).await;
                client.publish("t", number.to_string()).await.expect("stored");
                let message = subscription.next_message().await.expect("no error").expect("it continues");
                assert_eq!(message.offset, number);
                let began = now();
                let breaking = spawn(async { break_connections() });
                message.commit().await.expect("the broker comes back at once");
                let lag = witness.subscription("t", "d").await.expect("it exists").lag();
                assert_eq!(lag, 0, "the broker has the commit");
                breaking.await;
                took_long += u32::from(now() > began);
            }
        });
    }
    assert!(took_long > 20, "{took_long} of 200: sometimes the connection breaks first");
}

/// Connects to these addresses in turn; those with port 1 never answer.
fn connect(addresses: &[&str]) -> impl Future<Output = io::Result<SimulatedIo>> {
    let addresses = addresses.iter().map(|address| address.parse().expect("an address"));
    let addresses: Vec<SocketAddr> = addresses.collect();
    async move {
        connect_to_any::<Simulated, _, _>(&addresses, async |address| match address.port() {
            1 => pending().await,
            _ => Simulated::connect(&address.to_string()).await,
        })
        .await
    }
}

#[test]
fn p4_an_address_that_swallows_connections_delays_the_next_one_by_a_quarter_of_a_second() {
    Simulation::new().run(async {
        let _serving = serve("broker:8889").await;
        let began = now();
        connect(&["[::1]:1", "[::2]:1", "127.0.0.1:8889"]).await.expect("the last one answers");
        assert_eq!(now().duration_since(began), Duration::from_millis(250), "families take turns");
        connect(&["127.0.0.1:2", "127.0.0.1:8889"]).await.expect("the first one fails at once");
        assert_eq!(now().duration_since(began), Duration::from_millis(250), "so nothing waits");
        let refused = connect(&["127.0.0.1:2", "127.0.0.1:3"]).await.expect_err("no listener");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let nothing = connect(&[]).await.expect_err("no address");
        assert_eq!(nothing.kind(), io::ErrorKind::InvalidInput);
    });
}
