//! A client of the driver that publishes, and takes messages until the test stops it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use zaichik_simulated::{Client, EmbeddedBroker, spawn};

use crate::program::TOPIC;

pub(crate) struct Reader {
    client: Client,
    is_reading: Cell<bool>,
    task: RefCell<Option<Waker>>,
    /// Messages that it has taken.
    taken: Cell<u64>,
    /// Publishes that were called, and those that were answered.
    published: Cell<u64>,
    answered: Cell<u64>,
}

impl Reader {
    /// A client with little room for messages and for requests, and its subscription to all records.
    pub(crate) async fn start(broker: &EmbeddedBroker) -> Rc<Self> {
        let builder =
            broker.client_builder().max_in_flight(2).configure(|config| config.buffer_bytes = 2_000);
        let client = builder.connect().await.expect("there is room for it");
        let mut subscription = client.subscribe(TOPIC).window(0).await.expect("subscribed");
        let reader = Rc::new(Self {
            client,
            is_reading: Cell::new(true),
            task: RefCell::default(),
            taken: Cell::new(0),
            published: Cell::new(0),
            answered: Cell::new(0),
        });
        let task = Rc::clone(&reader);
        drop(spawn(async move {
            task.until_reading().await;
            while let Ok(Some(_)) = subscription.next_message().await {
                task.taken.set(task.taken.get() + 1);
                task.until_reading().await;
            }
        }));
        reader
    }

    pub(crate) fn publish(self: &Rc<Self>, body: Vec<u8>) {
        self.published.set(self.published.get() + 1);
        let reader = Rc::clone(self);
        drop(spawn(async move {
            reader.client.publish(TOPIC, body).await.expect("accepted");
            reader.answered.set(reader.answered.get() + 1);
        }));
    }

    pub(crate) fn stop_reading(&self) {
        self.is_reading.set(false);
    }

    pub(crate) fn resume_reading(&self) {
        self.is_reading.set(true);
        let task = self.task.take();
        task.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.is_reading.get()
    }

    /// What it still waits for, if `records` were accepted.
    pub(crate) fn waits_for(&self, records: u64) -> Option<String> {
        if self.taken.get() < records {
            return Some(format!("{} of {records} messages", self.taken.get()));
        }
        let unanswered = self.published.get() - self.answered.get();
        (unanswered > 0).then(|| format!("the answers of {unanswered} publishes"))
    }

    async fn until_reading(&self) {
        poll_fn(|cx| {
            if self.is_reading.get() {
                return Poll::Ready(());
            }
            *self.task.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
