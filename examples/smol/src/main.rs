//! A client on smol publishes and subscribes: it receives the messages that it publishes, in order.
//!
//! `PORT=8889 cargo run -p zaichik-example-smol` uses the broker at that port; without `PORT` the program runs its
//! own broker, also on smol.
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

mod runtime;

use std::error::Error;
use std::time::Duration;

use runtime::Smol;
use zaichik_driver::{BrokerConfig, Client, ClientBuilder, Start};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const TOPIC: &str = "examples/smol";

fn main() -> Outcome {
    smol::block_on(async {
        if let Some(port) = std::env::var("PORT").ok().filter(|port| !port.is_empty()) {
            return echo(&format!("127.0.0.1:{port}")).await;
        }
        let server = zaichik_driver::Server::<Smol>::bind("127.0.0.1:0", BrokerConfig::default()).await?;
        let (address, handle) = (server.local_addr().to_string(), server.broker().handle());
        let serving = smol::spawn(server.serve());
        echo(&address).await?;
        handle.shutdown(Duration::from_secs(1));
        serving.await?;
        println!("the broker has stopped");
        Ok(())
    })
}

async fn echo(address: &str) -> Outcome {
    let client: Client<Smol> = ClientBuilder::new(address).name("smol").connect().await?;
    println!("connected to {address}, on smol");
    let mut subscription = client.subscribe(TOPIC).from(Start::Latest).window(16).await?;
    for text in ["one", "two", "three"] {
        let receipt = client.publish(TOPIC, text).await?;
        loop {
            let message = subscription.next_message().await?.ok_or("the subscription ended")?;
            message.commit().await?;
            if Some(message.offset) == receipt.offset(0) {
                println!("published {text:?}, received {:?} at offset {}", message.body, message.offset);
                break;
            }
        }
    }
    client.close().await?;
    println!("closed");
    Ok(())
}
