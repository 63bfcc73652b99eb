use zaichik_simulated::{BrokerConfig, Client, Server, Simulation, break_connections, spawn};

#[test]
fn a_publish_survives_a_broken_network() {
    for seed in 0..10 {
        Simulation::with_seed(seed).run(async {
            let server = Server::bind("broker:8889", BrokerConfig::default()).await.unwrap();
            let serving = spawn(server.serve());
            let client = Client::connect("broker:8889").await.unwrap();
            let accident = spawn(async { break_connections() });
            let receipt = client.publish("orders", "three carrots").await.unwrap();
            assert_eq!(receipt.offset(0), Some(0), "stored once, with seed {seed}");
            assert_eq!(accident.await, 1);
            drop(serving);
        });
    }
}
