//! The broker, the network, the clients and the time: one event after the other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use zaichik_engine::{Broker, CloseReason, Effects, Link as Wish, Session, SessionId, Status, Turn};
use zaichik_proto::{ClientFrame, CreateTopic, HEADER_LEN, Hello, MAGIC, PROTOCOL_VERSION, Start, Subscribe};

use super::app::{App, at};
use super::check::{Broken, Checker, Step, Verdict};
use super::pipe::Pipe;
use super::plan::{Plan, Role};
use super::random::{Concern, Rng, Trail, mix};
use super::raw::Raw;
use super::trace::{self, Event};
use super::{MILLI, SECOND};

/// When the world begins; not zero, so that clocks can go back.
const BEGINNING: u64 = 1_000 * SECOND;

/// Bytes that one turn of a connection or client reads.
const READ_AT_ONCE: usize = 16 << 10;

/// Who has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    House,
    Link(u64),
    Client(usize),
    /// Something happens to a client's connection.
    Fault(usize),
    Clock,
    Restart,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) checker: Checker,
    broker: Broker,
    effects: Effects,
    pub(crate) now: u64,
    /// What the broker is told is this much off.
    shift: i64,
    queue: BinaryHeap<Reverse<(u64, u64, Who)>>,
    /// The first moment at which each is to act.
    wanted: BTreeMap<Who, u64>,
    /// How often each was scheduled, for ties.
    turns: BTreeMap<Who, u64>,
    links: BTreeMap<u64, Link>,
    by_session: BTreeMap<SessionId, u64>,
    clients: Vec<Client>,
    /// When housekeeping was last told to come, in the broker's time.
    armed: Option<u64>,
    clock: Rng,
    instance: u64,
    /// Connections of the observer so far.
    speakers: u64,
    pub(crate) is_healing: bool,
    pub(crate) counts: Counts,
}

/// What happened how often.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Events handled.
    pub events: u64,
    /// Connections opened.
    pub connections: u64,
    /// Connections frozen.
    pub freezes: u64,
    /// Connections reset.
    pub resets: u64,
    /// Connections that fell silent.
    pub half_opens: u64,
    /// Clients that died.
    pub crashes: u64,
    /// Steps and jumps of the clock.
    pub clock_steps: u64,
    /// Brokers replaced.
    pub restarts: u64,
}

impl Counts {
    /// Adds another run's.
    pub const fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.connections += other.connections;
        self.freezes += other.freezes;
        self.resets += other.resets;
        self.half_opens += other.half_opens;
        self.crashes += other.crashes;
        self.clock_steps += other.clock_steps;
        self.restarts += other.restarts;
    }
}

/// Somebody with at most one connection.
struct Client {
    peer: Peer,
    link: Option<u64>,
    /// How many connections it had.
    connections: u64,
    faults: Rng,
    /// A raw peer does not connect before.
    again_at: u64,
    /// What the broker sent it, and when: for twins.
    heard: Trail,
}

enum Peer {
    App(Box<App>),
    Raw(Box<Raw>),
    Gone,
}

/// A connection, both ends of it.
struct Link {
    session: Option<Session>,
    client: usize,
    to_broker: Pipe,
    to_client: Pipe,
    rng: Rng,
    frozen_until: u64,
    reset_at: Option<u64>,
    /// Bytes that still get through in each direction before it breaks.
    cut: [Option<usize>; 2],
    knows_eof: bool,
    /// Bytes left of each frame that waits in the stream lane.
    stream: VecDeque<usize>,
    /// Whether some of the first one were sent.
    is_partly_sent: bool,
}

impl Link {
    /// The frames that an exchange added to the lanes, which were that long before. The rest of a stream frame that was
    /// partly sent stands first, then the control lane, then the rest of the stream lane.
    fn new_frames(&mut self, before: (usize, usize)) -> (Vec<u8>, Vec<u8>) {
        let Some(session) = &mut self.session else { return Default::default() };
        let out = session.outbound();
        let after = (out.control_len(), out.stream_len());
        if after == before {
            return Default::default();
        }
        let all = peek(out);
        let partial = self.stream.front().copied().filter(|_| self.is_partly_sent).unwrap_or(0);
        if after.1 < before.1 {
            self.stream.truncate(usize::from(self.is_partly_sent));
        }
        let control = all.get(partial + before.0..partial + after.0).unwrap_or_default().to_vec();
        let stream = all[all.len() - after.1.saturating_sub(before.1)..].to_vec();
        self.stream.extend(frame_lengths(&stream));
        (control, stream)
    }

    /// That many bytes of the stream lane left.
    fn stream_sent(&mut self, mut count: usize) {
        while count > 0 {
            let Some(first) = self.stream.front_mut() else { return };
            let part = count.min(*first);
            *first -= part;
            count -= part;
            self.is_partly_sent = *first > 0;
            if !self.is_partly_sent {
                self.stream.pop_front();
            }
        }
    }
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let config = plan.broker(0);
        let checker = Checker::new(&config);
        let broker = Broker::new(config).expect("the plan's configuration is valid");
        let roles = plan.roles.clone();
        let clients = roles.iter().enumerate().map(|(index, role)| Client::new(&plan, index, role)).collect();
        let mut world = Self {
            checker,
            broker,
            effects: Effects::new(),
            now: BEGINNING,
            shift: 0,
            queue: BinaryHeap::new(),
            wanted: BTreeMap::new(),
            turns: BTreeMap::new(),
            links: BTreeMap::new(),
            by_session: BTreeMap::new(),
            clients,
            armed: None,
            clock: Rng::new(plan.seed, Concern::Clock, 0),
            instance: 0,
            speakers: 0,
            is_healing: false,
            counts: Counts::default(),
            plan,
        };
        for index in 0..world.clients.len() {
            let mut rng = Rng::new(world.plan.seed, Concern::Fault, 1_000 + index as u64);
            world.want(Who::Client(index), BEGINNING + rng.below(SECOND));
            world.want_fault(index);
        }
        world.want_clock();
        if world.plan.faults.restart > 0 {
            let after = world.clock.between(1, world.plan.faults.restart * 2);
            world.want(Who::Restart, BEGINNING + after);
        }
        world
    }

    /// The first phase: everything may go wrong.
    pub(crate) fn run(&mut self) -> Verdict {
        self.create_topics()?;
        for _ in 0..self.plan.events {
            if !self.event()? {
                break;
            }
        }
        Ok(())
    }

    /// Events until a moment, or until there are none.
    pub(crate) fn run_until(&mut self, end: u64) -> Verdict {
        // More than any peaceful world needs: else somebody goes round in circles.
        for _ in 0..2_000_000 {
            match self.queue.peek() {
                Some(Reverse((at, ..))) if *at <= end => {
                    self.event()?;
                }
                _ => {
                    self.now = self.now.max(end);
                    return Ok(());
                }
            }
        }
        Broken::because("I16", format!("the world does not come to rest; at {} of {end}", self.now))
    }

    /// The settings of topics come from a connection of their own, before anything else.
    fn create_topics(&mut self) -> Verdict {
        let topics = self.plan.topics.clone();
        self.speak(|out| {
            for (request, topic) in (1..).zip(&topics) {
                if let Some(options) = topic.options {
                    let topic = topic.name.as_bytes();
                    ClientFrame::CreateTopic(CreateTopic { request, topic, options }).encode(out);
                }
            }
        })
    }

    /// Reads everything that newcomers can get, so that the checker sees it.
    fn audit(&mut self) -> Verdict {
        let names = self.checker.topic_names();
        for name in &names {
            let subscribe = Subscribe {
                request: 1,
                subscription: 1,
                topic: name,
                start: Start::Earliest,
                window: 0,
                window_bytes: 0,
                max_attempts: 0,
                dead_letter: b"",
                durable: None,
            };
            self.speak(|out| ClientFrame::Subscribe(subscribe).encode(out))?;
        }
        Ok(())
    }

    /// A connection on which nothing goes wrong: says this, hears everything, and closes.
    fn speak(&mut self, say: impl FnOnce(&mut BytesMut)) -> Verdict {
        let faults = std::mem::take(&mut self.plan.faults);
        (self.plan.faults.capacity, self.plan.faults.segment) = (1 << 30, 1_460);
        let mut bytes = BytesMut::from(&MAGIC[..]);
        ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, name: "observer", token: b"" })
            .encode(&mut bytes);
        self.speakers += 1;
        let link = u64::MAX - self.speakers;
        self.open(link, usize::MAX);
        let mut parts = vec![bytes, BytesMut::new(), BytesMut::new()];
        say(&mut parts[1]);
        ClientFrame::Close.encode(&mut parts[2]);
        for part in parts {
            if let Some(open) = self.links.get_mut(&link) {
                open.to_broker.write(self.now, part.freeze(), &self.plan.faults, &mut open.rng);
            }
            // It has its turns at once, whatever else is to happen now.
            let mut idle = 0;
            while idle < 3 && self.links.get(&link).is_some_and(|open| open.session.is_some()) {
                let before = (self.checker.deliveries, self.checker.requests);
                self.serve(link)?;
                let open = self.links.get_mut(&link);
                let heard = open.and_then(|open| open.to_client.read(self.now, usize::MAX));
                let moved = heard.is_some() || before != (self.checker.deliveries, self.checker.requests);
                idle = if moved { 0 } else { idle + 1 };
            }
        }
        self.plan.faults = faults;
        if let Some(Link { session: Some(_), .. }) = self.links.get(&link) {
            self.drop_speaker(link);
        }
        self.links.remove(&link);
        Ok(())
    }

    /// The broker does not read it, for want of memory.
    fn drop_speaker(&mut self, link: u64) {
        if let Some(open) = self.links.get_mut(&link) {
            open.reset_at = Some(self.now);
        }
        let _ = self.serve(link);
    }

    /// One event; says whether there was one.
    fn event(&mut self) -> Result<bool, Broken> {
        let Some(Reverse((time, _, who))) = self.queue.pop() else {
            return Ok(false);
        };
        if self.wanted.get(&who) != Some(&time) {
            return Ok(true);
        }
        self.wanted.remove(&who);
        self.now = self.now.max(time);
        self.counts.events += 1;
        match who {
            Who::House => self.keep_house(),
            Who::Link(link) => self.serve(link),
            Who::Client(client) => self.client(client),
            Who::Fault(client) => {
                self.fault(client);
                Ok(())
            }
            Who::Clock => {
                self.step_clock();
                Ok(())
            }
            Who::Restart => {
                self.restart();
                Ok(())
            }
        }?;
        self.check(self.counts.events % 256 == 0)?;
        Ok(true)
    }

    /// What must hold between any two events.
    fn check(&mut self, is_thorough: bool) -> Verdict {
        let ledger = self.broker.ledger();
        // A lane may exceed its limit by a frame, and a publish is charged when it is there.
        let frame = u64::from(self.plan.limits.max_message) * 2 + (128 << 10);
        let room = (self.links.len() as u64 + 2) * (frame + self.plan.limits.lane_bytes as u64 * 2);
        if ledger.total() > self.plan.limits.memory_budget + room {
            return Broken::because(
                "I10",
                format!("{ledger:?} is above the budget of {}", self.plan.limits.memory_budget),
            );
        }
        if !is_thorough {
            return Ok(());
        }
        if let Err(error) = self.broker.verify() {
            return Broken::because("I10", format!("the broker contradicts itself: {error}"));
        }
        let retained = self.checker.retained_bytes();
        if ledger.topics < retained {
            return Broken::because(
                "I10",
                format!("{} bytes are charged for topics, {retained} are live", ledger.topics),
            );
        }
        self.check_stranded()
    }

    /// I16: an exchange that nobody asked for changes nothing; else somebody was not woken.
    fn check_stranded(&mut self) -> Verdict {
        let told = self.told();
        if self.armed.is_some_and(|armed| armed <= told) {
            return Ok(());
        }
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            if self.wanted.get(&Who::Link(link)).is_some_and(|at| *at <= self.now) {
                continue;
            }
            let Some(open) = self.links.get_mut(&link) else { continue };
            let Some(session) = &mut open.session else { continue };
            let before =
                (session.outbound().stream_len(), session.outbound().control_len(), session.status());
            let turn = self.exchange(link)?;
            let Some(session) = self.links.get_mut(&link).and_then(|open| open.session.as_mut()) else {
                continue;
            };
            let after = (session.outbound().stream_len(), session.outbound().control_len(), session.status());
            if before != after || turn == Turn::More {
                return Broken::because(
                    "I16",
                    format!("connection {link:#x} was not woken: {before:?}, {after:?}, {turn:?}"),
                );
            }
        }
        Ok(())
    }

    fn told(&self) -> u64 {
        self.now.saturating_add_signed(self.shift)
    }

    /// When the broker's clock shows a time.
    fn when(&self, told: u64) -> u64 {
        told.saturating_add_signed(-self.shift)
    }

    fn want(&mut self, who: Who, time: u64) {
        if time == u64::MAX {
            return;
        }
        let grain = self.plan.grain;
        let time = time.max(self.now).next_multiple_of(grain);
        if self.wanted.get(&who).is_some_and(|wanted| *wanted <= time) {
            return;
        }
        self.wanted.insert(who, time);
        let turn = self.turns.entry(who).or_insert(0);
        *turn += 1;
        let number = match who {
            Who::House => 1,
            Who::Link(link) => mix(link) | 2,
            Who::Client(client) => mix(client as u64) | 4,
            Who::Fault(client) => mix(client as u64) | 8,
            Who::Clock => 3,
            Who::Restart => 5,
        };
        let tie = mix(mix(self.plan.seed ^ Concern::Order as u64) ^ number ^ (*turn << 40));
        self.queue.push(Reverse((time, tie, who)));
    }

    fn keep_house(&mut self) -> Verdict {
        let told = self.told();
        let Some(armed) = self.armed else { return Ok(()) };
        if armed > told {
            self.want(Who::House, self.when(armed));
            return Ok(());
        }
        trace::event(self.now, Event::House);
        self.checker.broker_told(told);
        let turn = self.broker.handle_timeout(at(told), &mut self.effects);
        self.armed = self.broker.next_timeout().map(zaichik_engine::Timestamp::as_micros);
        if let Some(armed) = self.armed {
            let late = if self.is_healing { 0 } else { self.plan.faults.late };
            let late = if turn == Turn::More { 0 } else { self.clock.below(late + 1) };
            self.want(Who::House, self.when(armed).max(self.now) + late);
        }
        self.collect(false)
    }

    /// What the broker wants done, and that it tells of its deadline.
    fn collect(&mut self, more: bool) -> Verdict {
        while let Some(id) = self.effects.pop_wake() {
            if let Some(link) = self.by_session.get(&id) {
                self.want(Who::Link(*link), self.now);
            }
        }
        let next = self.broker.next_timeout().map(zaichik_engine::Timestamp::as_micros);
        if self.effects.take_rearm() {
            self.armed = next;
            if let Some(next) = next {
                self.want(Who::House, self.when(next));
            }
        }
        let is_told = next.is_none_or(|next| self.armed.is_some_and(|armed| armed <= next));
        if !is_told && !more {
            return Broken::because(
                "I16",
                format!("the deadline moved to {next:?}, and nobody was told: {:?}", self.armed),
            );
        }
        Ok(())
    }

    fn open(&mut self, link: u64, client: usize) {
        let told = self.told();
        self.checker.broker_told(told);
        let session = self.broker.accept(at(told), &mut self.effects);
        trace::event(self.now, Event::Accepted { link });
        self.counts.connections += 1;
        self.checker.accepted(link);
        self.by_session.insert(session.id(), link);
        let open = Link {
            session: Some(session),
            client,
            to_broker: Pipe::default(),
            to_client: Pipe::default(),
            rng: Rng::new(self.plan.seed, Concern::Net, link),
            frozen_until: 0,
            reset_at: None,
            cut: [None; 2],
            knows_eof: false,
            stream: VecDeque::new(),
            is_partly_sent: false,
        };
        self.links.insert(link, open);
        self.want(Who::Link(link), self.now);
    }

    /// The broker's end of a connection: read, exchange, write, sleep; as the driver does.
    fn serve(&mut self, link: u64) -> Verdict {
        let (now, told) = (self.now, self.told());
        let Some(open) = self.links.get_mut(&link) else { return Ok(()) };
        let Some(session) = open.session.as_mut() else { return Ok(()) };
        let mut gone = false;
        let mut read = 0;
        let before_timeout = session.next_timeout().is_some_and(|due| due.as_micros() <= told);
        if before_timeout {
            self.checker.session_told(link, told);
            session.handle_timeout(at(told));
        }
        if open.reset_at.is_some_and(|time| time <= now) {
            session.close(at(told), CloseReason::PeerGone);
            self.checker.session_told(link, told);
            gone = true;
        }
        while !gone && open.frozen_until <= now && session.wants_read() && read < READ_AT_ONCE {
            let limit = session.read_limit().min(READ_AT_ONCE - read);
            if let Some(bytes) = open.to_broker.read(now, limit) {
                read += bytes.len();
                session.inbound().extend_from_slice(&bytes);
                self.checker.received(link, &bytes);
                let before = session.inbound().len();
                session.handle_read(at(told));
                self.checker.session_told(link, told);
                let taken = before - session.inbound().len();
                if session.close_reason().is_none() {
                    self.checker.shook_hands(link, taken);
                }
            } else if open.to_broker.is_over() && !open.knows_eof {
                open.knows_eof = true;
                session.handle_eof(at(told));
            } else {
                break;
            }
        }
        let turn = self.exchange(link)?;
        let wrote = if gone { 0 } else { self.write(link) };
        self.after_turn(link, turn, gone, read, wrote)
    }

    fn after_turn(&mut self, link: u64, turn: Turn, gone: bool, read: usize, wrote: usize) -> Verdict {
        let Some(open) = self.links.get_mut(&link) else { return Ok(()) };
        let Some(session) = open.session.as_mut() else { return Ok(()) };
        let status = session.status();
        let is_over = matches!(status, Status::Closed) || (gone && matches!(status, Status::Closing));
        let client = open.client;
        if is_over {
            let id = session.id();
            open.session = None;
            open.to_client.finish();
            self.by_session.remove(&id);
            trace::event(self.now, Event::Ended { link, client });
            let told = self.told();
            self.checker.broker_told(told);
            self.broker.detach(at(told), id, &mut self.effects);
            self.collect(false)?;
            let arrival =
                self.links.get(&link).and_then(|open| open.to_client.next_arrival()).unwrap_or(self.now);
            self.wake_client(client, arrival);
            return Ok(());
        }
        let due = session.next_timeout().map(zaichik_engine::Timestamp::as_micros);
        let can_read = session.wants_read() && open.frozen_until <= self.now;
        let arrival = open.to_broker.next_arrival().filter(|_| can_read);
        let thaws = (open.frozen_until > self.now).then_some(open.frozen_until);
        let is_busy = turn == Turn::More || wrote > 0 || read >= READ_AT_ONCE;
        let is_ended = can_read && open.to_broker.is_over() && !open.knows_eof;
        if read > 0 {
            // There is room for more.
            self.wake_client(client, self.now);
        }
        if is_busy || is_ended {
            self.want(Who::Link(link), self.now);
        }
        for time in due.map(|due| self.when(due).max(self.now + 1)).into_iter().chain(arrival).chain(thaws) {
            self.want(Who::Link(link), time);
        }
        self.collect(turn == Turn::More)
    }

    /// A session meets the broker, and the checker sees what comes of it.
    fn exchange(&mut self, link: u64) -> Result<Turn, Broken> {
        let told = self.told();
        let Some(open) = self.links.get_mut(&link) else { return Ok(Turn::Done) };
        let Some(session) = open.session.as_mut() else { return Ok(Turn::Done) };
        let waiting = session.inbound().len();
        let out = session.outbound();
        let before = (out.control_len(), out.stream_len());
        let turn = session.exchange(at(told), &mut self.broker, &mut self.effects);
        let is_over = session.close_reason().is_some();
        let taken = if is_over { None } else { Some(waiting - session.inbound().len()) };
        let (control, stream) = open.new_frames(before);
        trace::bytes(&control);
        trace::bytes(&stream);
        let requests = taken.unwrap_or(waiting);
        if requests + control.len() + stream.len() > 0 || is_over {
            let (control, stream) = (control.len(), stream.len());
            trace::event(self.now, Event::Served { link, requests, control, stream });
        }
        self.checker.step(Step { link, taken, control: &control, stream: &stream, told })?;
        Ok(turn)
    }

    /// Writes what the network takes; says how much that was.
    fn write(&mut self, link: u64) -> usize {
        let (now, faults) = (self.now, self.plan.faults);
        let is_healing = self.is_healing;
        let Some(open) = self.links.get_mut(&link) else { return 0 };
        let mut wrote = 0;
        let mut arrives = None;
        while open.frozen_until <= now {
            let Some(session) = open.session.as_mut() else { break };
            if !session.outbound().has_remaining() {
                break;
            }
            let room = open.to_client.room(&faults).min(session.outbound().remaining());
            let room = if faults.partial > 0 && !is_healing {
                room.min(usize::try_from(open.rng.between(1, faults.partial)).unwrap_or(1))
            } else {
                room
            };
            if room == 0 {
                break;
            }
            let before = session.outbound().stream_len();
            let bytes = session.outbound().copy_to_bytes(room);
            let of_stream = before - session.outbound().stream_len();
            open.stream_sent(of_stream);
            wrote += bytes.len();
            arrives = Some(cut(open, 1, now, bytes, &faults));
            if wrote >= READ_AT_ONCE || (faults.partial > 0 && open.rng.once_in(2)) {
                break;
            }
        }
        let client = open.client;
        if let Some(first) = open.to_client.next_arrival().or(arrives) {
            self.wake_client(client, first);
        }
        if self.links.get(&link).is_some_and(|open| open.reset_at.is_some()) {
            self.want(Who::Link(link), now);
            self.wake_client(client, now);
        }
        wrote
    }

    fn wake_client(&mut self, client: usize, time: u64) {
        if client < self.clients.len() {
            self.want(Who::Client(client), time);
        }
    }

    /// A client's turn: its connection, its time, its application.
    fn client(&mut self, index: usize) -> Verdict {
        match &self.clients[index].peer {
            Peer::App(_) => self.app(index),
            Peer::Raw(_) => {
                self.raw(index);
                Ok(())
            }
            Peer::Gone => Ok(()),
        }
    }

    fn app(&mut self, index: usize) -> Verdict {
        let now = self.now;
        let client = &mut self.clients[index];
        let Peer::App(app) = &mut client.peer else { return Ok(()) };
        app.client.handle_timeout(at(now));
        match app.client.link() {
            Wish::Closed(reason) => {
                return self.client_closed(index, reason.map(|reason| reason.to_string()));
            }
            Wish::Connect { at: time } if time.as_micros() <= now => self.connect(index),
            Wish::Connect { .. } => self.drop_link(index, true),
            Wish::Handshake | Wish::Open | Wish::Closing => {}
        }
        let (read, wrote) = self.pump(index);
        let client = &mut self.clients[index];
        let Peer::App(app) = &mut client.peer else { return Ok(()) };
        app.step(now, &self.plan, &mut self.checker)?;
        let (answers, messages) = (app.answers, app.messages);
        let (again, sent) = self.pump(index);
        trace::event(
            now,
            Event::Client { client: index, read: read + again, wrote: wrote + sent, answers, messages },
        );
        let client = &self.clients[index];
        let Peer::App(app) = &client.peer else { return Ok(()) };
        let wish = match app.client.link() {
            Wish::Connect { at } => Some(at.as_micros()),
            Wish::Closed(_) => Some(now),
            _ => None,
        };
        let due = app.client.next_timeout().map(zaichik_engine::Timestamp::as_micros);
        let own = app.next_time();
        let wants_read = app.client.wants_read();
        let arrival = client.link.and_then(|link| self.links.get(&link)).and_then(|open| {
            let thawed = open.frozen_until.max(now);
            let bytes = open.to_client.next_arrival().filter(|_| wants_read).map(|time| time.max(thawed));
            bytes.into_iter().chain(open.reset_at).chain(open.to_client.is_over().then_some(now)).min()
        });
        let is_busy = read + again + wrote + sent + answers + messages > 0;
        for time in wish.into_iter().chain(due).chain(arrival).chain([own]).chain(is_busy.then_some(now)) {
            self.want(Who::Client(index), time.max(now + u64::from(!is_busy)));
        }
        Ok(())
    }

    /// A real client closes only when it is told to.
    fn client_closed(&mut self, index: usize, reason: Option<String>) -> Verdict {
        self.drop_link(index, true);
        self.clients[index].peer = Peer::Gone;
        match reason {
            None if self.is_healing => Ok(()),
            reason => Broken::because("P4", format!("client {index} closed: {reason:?}")),
        }
    }

    fn connect(&mut self, index: usize) {
        let now = self.now;
        self.drop_link(index, true);
        let refuse = if self.is_healing { 0 } else { self.plan.faults.refuse };
        let client = &mut self.clients[index];
        let works = !client.faults.once_in(refuse);
        trace::event(now, Event::Connecting { client: index, works });
        let link = (index as u64) << 32 | client.connections;
        client.connections += 1;
        match &mut client.peer {
            Peer::App(app) if works => app.client.handle_connected(at(now)),
            Peer::App(app) => app.client.handle_disconnected(at(now)),
            Peer::Raw(raw) if works => raw.connected(),
            Peer::Raw(_) | Peer::Gone => {}
        }
        if works {
            client.link = Some(link);
            self.open(link, index);
        }
    }

    /// A client lets go of its connection: with a goodbye to the stream, or without.
    fn drop_link(&mut self, index: usize, is_orderly: bool) {
        let now = self.now;
        let Some(link) = self.clients[index].link.take() else { return };
        let Some(open) = self.links.get_mut(&link) else { return };
        if is_orderly {
            open.to_broker.finish();
        } else {
            open.reset_at = Some(now);
        }
        // Nobody reads any more.
        open.to_client.is_silent = true;
        if open.session.is_none() {
            self.links.remove(&link);
            return;
        }
        let arrival = open.to_broker.next_arrival().unwrap_or(now);
        if !open.to_broker.is_silent {
            self.want(Who::Link(link), arrival);
        }
    }

    /// Reads and writes; says how much of each.
    fn pump(&mut self, index: usize) -> (usize, usize) {
        let (now, faults, is_healing) = (self.now, self.plan.faults, self.is_healing);
        let client = &mut self.clients[index];
        let Peer::App(app) = &mut client.peer else { return (0, 0) };
        let Some(link) = client.link else { return (0, 0) };
        let Some(open) = self.links.get_mut(&link) else {
            client.link = None;
            app.client.handle_disconnected(at(now));
            return (0, 0);
        };
        let (mut read, mut wrote) = (0, 0);
        let mut is_broken = open.reset_at.is_some_and(|time| time <= now);
        while !is_broken && open.frozen_until <= now && app.client.wants_read() && read < READ_AT_ONCE {
            let limit = usize::try_from(open.rng.between(1, 4_096)).unwrap_or(1);
            if let Some(bytes) = open.to_client.read(now, limit) {
                read += bytes.len();
                client.heard.number(now);
                client.heard.bytes(&bytes);
                app.client.inbound().extend_from_slice(&bytes);
                app.client.handle_read(at(now));
            } else {
                is_broken = open.to_client.is_over();
                break;
            }
        }
        while !is_broken && open.frozen_until <= now && app.client.outbound().has_remaining() {
            let room = open.to_broker.room(&faults).min(app.client.outbound().remaining());
            let room = if faults.partial > 0 && !is_healing {
                room.min(usize::try_from(open.rng.between(1, faults.partial)).unwrap_or(1))
            } else {
                room
            };
            if room == 0 || wrote >= READ_AT_ONCE {
                break;
            }
            let bytes = app.client.outbound().copy_to_bytes(room);
            wrote += bytes.len();
            cut(open, 0, now, bytes, &faults);
        }
        let arrival = open.to_broker.next_arrival();
        let is_cut = open.reset_at.is_some();
        if is_broken {
            client.link = None;
            app.client.handle_disconnected(at(now));
            if open.session.is_none() {
                self.links.remove(&link);
            } else {
                open.to_client.is_silent = true;
                open.to_broker.finish();
            }
        }
        if read > 0 || is_cut || is_broken {
            self.want(Who::Link(link), now);
        }
        if let Some(arrival) = arrival {
            self.want(Who::Link(link), arrival);
        }
        (read, wrote)
    }

    fn raw(&mut self, index: usize) {
        let now = self.now;
        if self.clients[index].link.is_none_or(|link| !self.links.contains_key(&link)) {
            if self.clients[index].again_at > now {
                let again_at = self.clients[index].again_at;
                self.want(Who::Client(index), again_at);
                return;
            }
            let pause = self.clients[index].faults.between(1, 4 * SECOND);
            self.clients[index].again_at = now + pause;
            self.connect(index);
        }
        let faults = self.plan.faults;
        let client = &mut self.clients[index];
        let Peer::Raw(raw) = &mut client.peer else { return };
        raw.step(now, &self.plan);
        let mut wrote = 0;
        let mut is_over = true;
        if let Some(open) = client.link.and_then(|link| self.links.get_mut(&link)) {
            while raw.is_reading && open.to_client.read(now, READ_AT_ONCE).is_some() {}
            is_over = open.session.is_none() || open.reset_at.is_some_and(|time| time <= now);
            let room = open.to_broker.room(&faults).min(raw.outbound.len()).min(raw.pace());
            if room > 0 && !is_over {
                let bytes = raw.outbound.split_to(room).freeze();
                wrote = bytes.len();
                cut(open, 0, now, bytes, &faults);
            }
        }
        let next = raw.next.max(now + 1);
        if let Some(link) = client.link {
            self.want(Who::Link(link), now);
            if let Some(arrival) = self.links.get(&link).and_then(|open| open.to_broker.next_arrival()) {
                self.want(Who::Link(link), arrival);
            }
        }
        if is_over {
            self.drop_link(index, false);
        }
        trace::event(now, Event::Raw { client: index, wrote });
        self.want(Who::Client(index), next);
    }

    fn want_fault(&mut self, index: usize) {
        let faults = self.plan.faults;
        let means = [faults.freeze, faults.reset, faults.half_open, faults.crash];
        let least = means.into_iter().filter(|mean| *mean > 0).min();
        if let Some(mean) = least {
            let after = self.clients[index].faults.between(1, mean * 2);
            self.want(Who::Fault(index), self.now + after);
        }
    }

    /// Something happens to a client or its connection.
    fn fault(&mut self, index: usize) {
        if self.is_healing {
            return;
        }
        let (now, faults) = (self.now, self.plan.faults);
        let rng = &mut self.clients[index].faults;
        let kinds = [
            ("freeze", faults.freeze),
            ("reset", faults.reset),
            ("half-open", faults.half_open),
            ("crash", faults.crash),
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|(_, mean)| *mean > 0).collect();
        let (what, mean) = kinds[rng.index(kinds.len())];
        let least = kinds.iter().map(|(_, mean)| *mean).min().unwrap_or(mean);
        // The rarer kinds happen less often than something happens.
        let happens = rng.below(mean) < least;
        let (long, bytes) = (rng.pick(&[10 * MILLI, SECOND, 15 * SECOND]), rng.pick(&[0, 1, 10, 100, 1_000]));
        let (direction, is_orderly) = (rng.index(2), rng.once_in(2));
        self.want_fault(index);
        let link = self.clients[index].link;
        if !happens || (link.is_none() && what != "crash") {
            return;
        }
        trace::event(now, Event::Fault { client: index, what });
        if what == "crash" {
            self.crash(index, is_orderly);
            return;
        }
        let Some(open) = link.and_then(|link| self.links.get_mut(&link)) else { return };
        match what {
            "freeze" => {
                self.counts.freezes += 1;
                open.frozen_until = now + long;
            }
            "reset" => {
                self.counts.resets += 1;
                if bytes == 0 {
                    open.reset_at = Some(now);
                } else {
                    open.cut[direction] = Some(usize::try_from(bytes).unwrap_or(1));
                }
            }
            _ => {
                self.counts.half_opens += 1;
                (open.to_broker.is_silent, open.to_client.is_silent) = (true, true);
            }
        }
        if let Some(link) = link {
            self.want(Who::Link(link), now);
        }
        self.want(Who::Client(index), now);
    }

    /// A client dies; another one takes its place.
    fn crash(&mut self, index: usize, is_orderly: bool) {
        let Peer::App(app) = &self.clients[index].peer else { return };
        let Role::Honest(work) = self.plan.roles[index].clone() else { return };
        if !work.crashes {
            return;
        }
        let life = app.life + 1;
        self.counts.crashes += 1;
        self.drop_link(index, is_orderly);
        self.clients[index].peer = Peer::App(Box::new(App::new(&self.plan, index, &work, life)));
        let after = self.clients[index].faults.below(2 * SECOND);
        self.want(Who::Client(index), self.now + after);
    }

    fn want_clock(&mut self) {
        let faults = self.plan.faults;
        let mean = [faults.clock_back, faults.clock_jump].into_iter().filter(|mean| *mean > 0).min();
        if let Some(mean) = mean {
            let after = self.clock.between(1, mean * 2);
            self.want(Who::Clock, self.now + after);
        }
    }

    fn step_clock(&mut self) {
        let faults = self.plan.faults;
        let kinds: Vec<_> = [(-1, faults.clock_back), (1, faults.clock_jump)]
            .into_iter()
            .filter(|(_, mean)| *mean > 0)
            .collect();
        let (sign, _) = kinds[self.clock.index(kinds.len())];
        let by = self.clock.pick(&[1, MILLI, 100 * MILLI, 3 * SECOND]);
        let shift = self.shift + sign * by.cast_signed();
        self.want_clock();
        // All jumps together stay below what clients allow for.
        if self.is_healing || shift.unsigned_abs() > 20 * SECOND {
            return;
        }
        self.shift = shift;
        self.counts.clock_steps += 1;
        trace::event(self.now, Event::Clock { shift });
        self.everybody_looks();
    }

    /// Deadlines of the broker's are at other moments now.
    fn everybody_looks(&mut self) {
        if let Some(armed) = self.armed {
            self.want(Who::House, self.when(armed));
        }
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.want(Who::Link(link), self.now);
        }
    }

    fn restart(&mut self) {
        if self.is_healing {
            return;
        }
        let after = self.clock.between(1, self.plan.faults.restart * 2);
        self.want(Who::Restart, self.now + after);
        self.instance += 1;
        self.counts.restarts += 1;
        trace::event(self.now, Event::Restart);
        self.effects.clear();
        self.broker = Broker::new(self.plan.broker(self.instance)).expect("the same configuration");
        self.checker.restart();
        self.armed = None;
        self.by_session.clear();
        for open in self.links.values_mut() {
            open.session = None;
            open.reset_at = Some(self.now);
        }
        for index in 0..self.clients.len() {
            self.want(Who::Client(index), self.now);
        }
    }
}

impl World {
    /// The second phase: nothing goes wrong any more, and everybody gets what they are owed.
    pub(crate) fn heal(&mut self) -> Verdict {
        trace::event(self.now, Event::Healing);
        self.is_healing = true;
        self.plan.faults.latency = self.plan.faults.latency.min(10 * MILLI);
        self.plan.faults.capacity = self.plan.faults.capacity.max(1_024);
        for index in 0..self.clients.len() {
            let link = self.clients[index].link;
            match &mut self.clients[index].peer {
                Peer::App(app) => app.is_calm = true,
                Peer::Raw(_) => {
                    self.drop_link(index, false);
                    self.clients[index].peer = Peer::Gone;
                }
                Peer::Gone => {}
            }
            // Everything restarts: what was frozen or silent is dropped.
            if let Some(open) = link.and_then(|link| self.links.get_mut(&link)) {
                open.reset_at = Some(self.now);
                open.frozen_until = 0;
            }
            self.want(Who::Client(index), self.now);
        }
        for open in self.links.values_mut() {
            open.frozen_until = 0;
            open.reset_at.get_or_insert(self.now);
        }
        self.everybody_looks();
        let begun = self.now;
        self.run_until(begun + 120 * SECOND)?;
        if self.is_short_of_memory() {
            return Ok(());
        }
        self.check_settled(begun + 30 * SECOND)?;
        self.check_fresh()?;
        self.audit()
    }

    /// Everybody closes, and nothing is left of them.
    pub(crate) fn close(&mut self) -> Verdict {
        for index in 0..self.clients.len() {
            if let Peer::App(app) = &mut self.clients[index].peer {
                app.client.close(at(self.now));
                self.want(Who::Client(index), self.now);
            }
        }
        self.run_until(self.now + 60 * SECOND)?;
        for index in 0..self.clients.len() {
            self.drop_link(index, false);
            self.clients[index].peer = Peer::Gone;
        }
        self.run_until(self.now + 60 * SECOND)?;
        let sessions = self.broker.session_count();
        if sessions > 0 {
            return Broken::because("I10", format!("{sessions} sessions are left when everybody is gone"));
        }
        // Long enough for every memory but that of topics to be over.
        self.run_until(self.now + 25 * 3_600 * SECOND)?;
        if let Err(error) = self.broker.verify() {
            return Broken::because("I10", format!("the broker contradicts itself at the end: {error}"));
        }
        let ledger = self.broker.ledger();
        // A mutated frame may ask for a cursor that is kept for ages.
        let subscriptions = if self.checker.keeps_for_ages() { 0 } else { ledger.subscriptions };
        let left = ledger.retired + subscriptions + ledger.sessions;
        if left > 0 {
            return Broken::because("I10", format!("{ledger:?} is left when everything is over"));
        }
        self.checker.check_dead_letters()
    }

    /// What each client was sent, and when.
    pub(crate) fn heard(&self) -> Vec<u64> {
        self.clients.iter().map(|client| client.heard.value()).collect()
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut trail = Trail::new();
        trail.number(trace::hash());
        for heard in self.heard() {
            trail.number(heard);
        }
        let stats = format!("{:?} {:?}", self.broker.stats(), self.broker.ledger());
        trail.bytes(stats.as_bytes());
        trail.value()
    }

    pub(crate) const fn elapsed(&self) -> u64 {
        self.now - BEGINNING
    }

    /// At nine tenths of the budget connections without a subscription are not read: nobody is owed anything then.
    fn is_short_of_memory(&self) -> bool {
        let budget = self.plan.limits.memory_budget;
        self.broker.ledger().total() + (16 << 10) >= budget - budget / 10
    }

    /// I5, I16: whatever was asked is answered, and whatever is there was delivered.
    fn check_settled(&self, since: u64) -> Verdict {
        for (index, client) in self.clients.iter().enumerate() {
            let Peer::App(app) = &client.peer else { continue };
            let unfinished = app.unfinished(since);
            if !unfinished.is_empty() {
                return Broken::because("I16", format!("client {index} still waits: {unfinished:?}"));
            }
            let behind = client.link.map(|link| self.checker.behind(link)).unwrap_or_default();
            if !behind.is_empty() {
                return Broken::because("I5", format!("client {index} did not get everything: {behind:?}"));
            }
        }
        Ok(())
    }

    /// A fresh publish is answered, and what was accepted is delivered.
    fn check_fresh(&mut self) -> Verdict {
        let now = self.now;
        let topic = self.plan.topics[0].name.clone();
        for index in 0..self.clients.len() {
            if let Peer::App(app) = &mut self.clients[index].peer {
                app.publish_one(now, &topic, &mut self.checker);
                self.want(Who::Client(index), now);
            }
        }
        self.run_until(now + 40 * SECOND)?;
        if self.is_short_of_memory() {
            return Ok(());
        }
        self.check_settled(now + 1)
    }
}

impl Client {
    fn new(plan: &Plan, index: usize, role: &Role) -> Self {
        let peer = match role {
            Role::Honest(work) => Peer::App(Box::new(App::new(plan, index, work, 0))),
            Role::Liar | Role::Attacker(_) => Peer::Raw(Box::new(Raw::new(plan, index, role))),
        };
        let faults = Rng::new(plan.seed, Concern::Fault, index as u64);
        Self { peer, link: None, connections: 0, faults, again_at: 0, heard: Trail::new() }
    }
}

/// Puts bytes on their way, unless the connection breaks at one of them; says when the last arrives.
fn cut(open: &mut Link, direction: usize, now: u64, mut bytes: Bytes, faults: &super::plan::Faults) -> u64 {
    if let Some(left) = open.cut[direction] {
        if bytes.len() >= left {
            bytes.truncate(left);
            open.reset_at.get_or_insert(now + faults.latency);
        }
        open.cut[direction] = Some(left - bytes.len());
    }
    let pipe = if direction == 0 { &mut open.to_broker } else { &mut open.to_client };
    pipe.write(now, bytes, faults, &mut open.rng)
}

/// All that waits to be sent, in the order in which it will be.
fn peek(out: &zaichik_engine::Outbound) -> Vec<u8> {
    let remaining = out.remaining();
    let mut all = Vec::with_capacity(remaining);
    let mut slices = vec![IoSlice::new(&[]); 64];
    loop {
        let filled = out.chunks_vectored(&mut slices);
        if filled < slices.len() || slices.iter().map(|slice| slice.len()).sum::<usize>() >= remaining {
            break;
        }
        let more = slices.len() * 4;
        slices = vec![IoSlice::new(&[]); more];
    }
    for slice in &slices {
        all.extend_from_slice(slice);
    }
    all
}

/// Where the frames of a byte sequence end, as their headers say.
fn frame_lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(head) = bytes.first_chunk::<4>() {
        let len = (u32::from_le_bytes(*head) as usize + HEADER_LEN).min(bytes.len());
        lengths.push(len);
        bytes = &bytes[len..];
    }
    lengths
}
