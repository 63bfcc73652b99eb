//! The broker of a case, and helpers for its clients.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::channel::oneshot;
use futures::{FutureExt, StreamExt};
use zaichik_driver::{
    BrokerConfig, BrokerHandle, Client, ClientBuilder, ClientError, Clock, Delivery, Event, Outgoing,
    RefusalCode, RequestError, Runtime, Subscription, Timer, TopicOptions,
};
use zaichik_testkit::show;

use crate::form::Form;
use crate::peer::Peer;

/// Time limit of a case.
const LONGEST: Duration = Duration::from_mins(1);

/// Longer than any test.
pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// Short, but above zero, so that it takes effect without help.
pub(crate) const SOON: Duration = Duration::from_millis(20);

/// A form's client.
pub(crate) type ClientOf<F> = Client<<F as Form>::Runtime>;

/// A form's raw peer.
pub(crate) type PeerOf<F> = Peer<<F as Form>::Runtime>;

/// A running broker.
pub(crate) struct Broker<F: Form>(F);

impl<F: Form> Broker<F> {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a broker with a changed default configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut BrokerConfig)) -> Self {
        Self::at("127.0.0.1:0", change).await
    }

    pub(crate) async fn at(address: &str, change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let mut config = BrokerConfig::default();
        change(&mut config);
        Self(F::start(address, config).await.expect("a free address"))
    }

    pub(crate) fn address(&self) -> String {
        self.0.address().to_owned()
    }

    pub(crate) fn handle(&self) -> BrokerHandle {
        self.0.handle()
    }

    pub(crate) fn client_builder(&self) -> ClientBuilder<F::Runtime> {
        self.0.client_builder()
    }

    pub(crate) async fn client(&self) -> ClientOf<F> {
        self.client_builder().connect().await.expect("the broker listens")
    }

    /// A connection on which nothing has been sent yet.
    pub(crate) async fn dial(&self) -> PeerOf<F> {
        Peer::dial(self.0.address()).await.expect("the broker listens")
    }

    /// A connection whose handshake is done.
    pub(crate) async fn peer(&self) -> PeerOf<F> {
        let peer = self.dial().await;
        peer.shake_hands().await;
        peer
    }

    /// A topic `t` with these settings, and a connection to it.
    pub(crate) async fn topic(&self, options: TopicOptions) -> PeerOf<F> {
        let peer = self.peer().await;
        assert_eq!(peer.answer(peer.create("t", options)).await, "created");
        peer
    }

    /// Stops the broker at once and waits for its end.
    pub(crate) async fn stop(self) {
        self.0.handle().shutdown(Duration::ZERO);
        self.stopped().await;
    }

    /// Waits for the end of a broker that was asked to stop.
    pub(crate) async fn stopped(self) {
        self.0.stopped().await.expect("the broker stopped without an error");
    }
}

/// Fails at the time limit instead of hanging.
pub(crate) async fn within<R: Runtime, T>(test: impl Future<Output = T>) -> T {
    let clock = Clock::of::<R>();
    let end = clock.instant(clock.now() + LONGEST).expect("a near moment");
    let (mut test, mut timer) = (pin!(test), R::timer());
    poll_fn(|cx| {
        if let Poll::Ready(done) = test.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        assert!(timer.poll_until(cx, end).is_pending(), "the case hangs");
        Poll::Pending
    })
    .await
}

/// Runs a future in the background; the returned future completes with its output.
pub(crate) fn spawn<R: Runtime, T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send {
    let (sender, receiver) = oneshot::channel();
    R::spawn(async move {
        // The receiver may be gone.
        drop(sender.send(future.await));
    });
    receiver.map(|output| output.expect("no panic"))
}

/// Publishes a message; "@3" if it was accepted, "=@1" for a duplicate of offset 1, " new" if the topic was created.
pub(crate) async fn put<R: Runtime>(client: &Client<R>, topic: &str, message: impl Into<Outgoing>) -> String {
    let message: Outgoing = message.into();
    let receipt = client.publish(topic, message).await.expect("accepted");
    let offset = receipt.offset(0).expect("one message");
    let duplicate = if receipt.is_duplicate(0) { "=" } else { "" };
    let created = if receipt.created { " new" } else { "" };
    format!("{duplicate}@{offset}{created}")
}

/// The next message; panics if any is lost or the subscription ends.
pub(crate) async fn next_message(subscription: &mut Subscription) -> Delivery {
    loop {
        let event = subscription.next_event().await.expect("the client is open");
        match event.expect("the subscription continues").into_message() {
            Ok(message) => return message,
            Err(event) => assert!(!event.is_loss() && !event.is_end(), "expected a message, got {event:?}"),
        }
    }
}

/// The next event of a subscription: "0=body", "0=body #2" the second time, "1..3 expired".
pub(crate) async fn next(subscription: &mut Subscription) -> String {
    show_event(subscription.next().await)
}

/// The next event, committed if it is a message: "0=body".
pub(crate) async fn next_committed(subscription: &mut Subscription) -> String {
    let event = next(subscription).await;
    if event.contains('=') {
        subscription.commit().await.expect("committed");
    }
    event
}

/// The events that a subscription has now, without a commit.
pub(crate) async fn settled<R: Runtime>(client: &Client<R>, subscription: &mut Subscription) -> Vec<String> {
    let mut all = Vec::new();
    // The first answer shows that the broker has served the connection, the second that its output has arrived.
    for _ in 0..2 {
        client.ping().await.expect("connected");
    }
    while let Some(one) = subscription.next().now_or_never() {
        all.push(show_event(one));
    }
    all
}

/// The code and value of a refusal: "`TopicsFull` 2".
pub(crate) fn refused<T: Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Request(RequestError::Refused { refusal, .. })) => {
            let code: RefusalCode = refusal.code;
            show::number(&code.to_string(), refusal.value)
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn show_event(event: Option<Result<Event<Delivery>, ClientError>>) -> String {
    match event {
        Some(Ok(Event::Message(message))) => {
            let text = show::message(message.offset, &message.body);
            if message.attempt > 1 { format!("{text} #{}", message.attempt) } else { text }
        }
        Some(Ok(Event::Gap { from, to, reason })) => show::gap(from, to, reason),
        Some(Ok(Event::Reconnected { from, start })) => format!("reconnected {from} {start}"),
        Some(Ok(Event::Restarted { start })) => format!("restarted {start}"),
        Some(Ok(Event::Fenced)) => "fenced".to_owned(),
        Some(Ok(Event::Ended(_))) | None => "ended".to_owned(),
        Some(other) => format!("{other:?}"),
    }
}
