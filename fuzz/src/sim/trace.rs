//! Events of a run: the last ones are printed after a failure, and all of them are part of the run's hash.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::random::Trail;

/// Number of events that are printed.
const SHOWN: usize = 200;

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// An exchange of a connection: bytes of applied requests, of the control lane and of the stream lane.
    Served {
        link: u64,
        requests: usize,
        control: usize,
        stream: usize,
    },
    Accepted {
        link: u64,
    },
    Ended {
        link: u64,
        client: usize,
    },
    /// A turn of a client: bytes read and written, answers and messages taken.
    Client {
        client: usize,
        read: usize,
        wrote: usize,
        answers: usize,
        messages: usize,
    },
    Connecting {
        client: usize,
        works: bool,
    },
    Asked {
        client: usize,
        what: &'static str,
        number: u64,
    },
    Answered {
        client: usize,
        what: &'static str,
        number: u64,
    },
    Raw {
        client: usize,
        wrote: usize,
    },
    House,
    Fault {
        client: usize,
        what: &'static str,
    },
    Clock {
        shift: i64,
    },
    Restart,
    Paused {
        who: Paused,
        micros: u64,
    },
    /// The broker was not running for this time, which was reported to it.
    Resumed {
        micros: u64,
    },
    Healing,
    /// A commit was made, and the store takes it.
    Commit {
        ticket: u64,
        ops: usize,
    },
    Durable {
        ticket: u64,
    },
    /// All commits are synced.
    Synced,
    StoreFailed,
    /// The store has no space but its reserve, or space again.
    Full {
        is_full: bool,
    },
    /// Records were read back.
    Fetched {
        from: u64,
        to: u64,
    },
    /// The broker ended, and one that was restored takes its place.
    Recovered,
    /// The machine ended, and with it the last commits: another instance takes its place.
    Lost,
}

/// What does not run for a time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paused {
    Broker,
    Client(usize),
    /// The machine on which all of them run.
    Machine,
}

impl Paused {
    const fn number(self) -> u64 {
        match self {
            Self::Broker => 0,
            Self::Machine => 1,
            Self::Client(client) => 2 + client as u64,
        }
    }
}

struct Trace {
    what: String,
    last: VecDeque<(u64, Event)>,
    prints_events: bool,
    trail: Trail,
}

thread_local! {
    static TRACE: RefCell<Trace> = const {
        RefCell::new(Trace { what: String::new(), last: VecDeque::new(), prints_events: false, trail: Trail::new() })
    };
}

/// Begins a run; `what` describes it after a failure.
pub(crate) fn begin(what: String, prints_events: bool) {
    TRACE.with_borrow_mut(|trace| {
        (trace.what, trace.prints_events, trace.trail) = (what, prints_events, Trail::new());
        trace.last.clear();
    });
}

pub(crate) fn event(at: u64, event: Event) {
    TRACE.with_borrow_mut(|trace| {
        if trace.prints_events {
            show_line(at, event);
        }
        if trace.last.len() >= SHOWN {
            trace.last.pop_front();
        }
        trace.last.push_back((at, event));
        trace.trail.number(at);
        for number in numbers(event) {
            trace.trail.number(number);
        }
    });
}

/// Adds bytes that were sent to the hash.
pub(crate) fn bytes(bytes: &[u8]) {
    TRACE.with_borrow_mut(|trace| trace.trail.bytes(bytes));
}

/// The hash of everything so far.
pub(crate) fn hash() -> u64 {
    TRACE.with_borrow(|trace| trace.trail.value())
}

/// The last events and the plan.
pub(crate) fn story() -> String {
    use std::fmt::Write;
    TRACE.with_borrow(|trace| {
        let mut story = format!("the last {} events:\n", trace.last.len());
        for (at, event) in &trace.last {
            let _ = writeln!(story, "{at:>12} {event:?}");
        }
        story + &trace.what
    })
}

/// Makes panics print the run in which they happen.
pub fn report_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{}", story());
        before(panic);
    }));
}

#[expect(clippy::print_stdout, reason = "what --trace is for")]
fn show_line(at: u64, event: Event) {
    println!("{at:>12} {event:?}");
}

fn numbers(event: Event) -> [u64; 4] {
    match event {
        Event::Served { link, requests, control, stream } => {
            [link, requests as u64, control as u64, stream as u64]
        }
        Event::Accepted { link } => [1, link, 0, 0],
        Event::Ended { link, client } => [2, link, client as u64, 0],
        Event::Client { client, read, wrote, answers, messages } => {
            [3 << 32 | client as u64, read as u64, wrote as u64, (answers as u64) << 32 | messages as u64]
        }
        Event::Connecting { client, works } => [4, client as u64, u64::from(works), 0],
        Event::Asked { client, what, number } => [5, client as u64, what.len() as u64, number],
        Event::Answered { client, what, number } => [6, client as u64, what.len() as u64, number],
        Event::Raw { client, wrote } => [7, client as u64, wrote as u64, 0],
        Event::House => [8, 0, 0, 0],
        Event::Fault { client, what } => [9, client as u64, what.len() as u64, 0],
        Event::Clock { shift } => [10, shift.cast_unsigned(), 0, 0],
        Event::Restart => [11, 0, 0, 0],
        Event::Healing => [12, 0, 0, 0],
        Event::Paused { who, micros } => [13, who.number(), micros, 0],
        Event::Resumed { micros } => [14, micros, 0, 0],
        Event::Commit { ticket, ops } => [15, ticket, ops as u64, 0],
        Event::Durable { ticket } => [16, ticket, 0, 0],
        Event::StoreFailed => [17, 0, 0, 0],
        Event::Recovered => [18, 0, 0, 0],
        Event::Fetched { from, to } => [19, from, to, 0],
        Event::Full { is_full } => [20, u64::from(is_full), 0, 0],
        Event::Synced => [21, 0, 0, 0],
        Event::Lost => [22, 0, 0, 0],
    }
}
