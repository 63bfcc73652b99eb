use std::time::Duration;

use zaichik_simulated::{BrokerConfig, EmbeddedBroker, Simulation, TopicOptions, sleep, spawn, timeout};

#[test]
fn two_workers_share_a_day() {
    for seed in 0..10 {
        Simulation::with_seed(seed).run(async {
            let broker = EmbeddedBroker::start(BrokerConfig::default()).unwrap();
            let client = broker.client();
            client
                .create_topic("carts", TopicOptions::new().retention_ttl(Duration::from_hours(24)))
                .await
                .unwrap();

            let reader = broker.client();
            let reading = spawn(async move {
                let mut carts = reader.subscribe("carts").await.unwrap();
                let mut seen = 0;
                // Until no message arrives for an hour.
                while let Some(cart) = timeout(Duration::from_hours(1), carts.next_message()).await {
                    cart.unwrap().unwrap().commit().await.unwrap();
                    seen += 1;
                }
                seen
            });
            for _ in 0..24 {
                client.publish("carts", "three carrots").await.unwrap();
                sleep(Duration::from_mins(59)).await;
            }
            assert_eq!(reading.await, 24, "with seed {seed}");
        });
    }
}
