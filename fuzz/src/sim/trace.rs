//! What happened, as numbers: the last events are shown when something is wrong, and all of them make the run's hash.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::random::Trail;

/// Events that are shown.
const SHOWN: usize = 200;

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// An exchange of a connection: bytes of requests applied, of answers and of deliveries.
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
    /// A client: bytes read and written, answers and messages taken.
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
    Told {
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
    Healing,
}

struct Trace {
    what: String,
    last: VecDeque<(u64, Event)>,
    is_loud: bool,
    trail: Trail,
}

thread_local! {
    static TRACE: RefCell<Trace> = const {
        RefCell::new(Trace { what: String::new(), last: VecDeque::new(), is_loud: false, trail: Trail::new() })
    };
}

/// Begins a run; `what` describes it when something goes wrong.
pub(crate) fn begin(what: String, is_loud: bool) {
    TRACE.with_borrow_mut(|trace| {
        (trace.what, trace.is_loud, trace.trail) = (what, is_loud, Trail::new());
        trace.last.clear();
    });
}

pub(crate) fn event(at: u64, event: Event) {
    TRACE.with_borrow_mut(|trace| {
        if trace.is_loud {
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

/// Bytes that somebody sent count as well.
pub(crate) fn bytes(bytes: &[u8]) {
    TRACE.with_borrow_mut(|trace| trace.trail.bytes(bytes));
}

/// The hash of everything so far.
pub(crate) fn hash() -> u64 {
    TRACE.with_borrow(|trace| trace.trail.value())
}

/// The plan and the last events.
pub(crate) fn tell() -> String {
    use std::fmt::Write;
    TRACE.with_borrow(|trace| {
        let mut told = format!("the last {} events:\n", trace.last.len());
        for (at, event) in &trace.last {
            let _ = writeln!(told, "{at:>12} {event:?}");
        }
        told + &trace.what
    })
}

/// A panic tells which run it was in.
pub fn tell_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{}", tell());
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
        Event::Told { client, what, number } => [6, client as u64, what.len() as u64, number],
        Event::Raw { client, wrote } => [7, client as u64, wrote as u64, 0],
        Event::House => [8, 0, 0, 0],
        Event::Fault { client, what } => [9, client as u64, what.len() as u64, 0],
        Event::Clock { shift } => [10, shift.cast_unsigned(), 0, 0],
        Event::Restart => [11, 0, 0, 0],
        Event::Healing => [12, 0, 0, 0],
    }
}
