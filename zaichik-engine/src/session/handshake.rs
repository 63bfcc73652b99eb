//! How a connection begins: it is accepted, and its first frame is a Hello.

use zaichik_proto::{ClientDecoder, ClientFrame, ServerFrame, Timestamp, Version, Welcome};

use super::Session;
use super::answers::Answers;
use super::inbound::Inbound;
use super::state::State;
use super::timers::Timers;
use crate::broker::{Admitted, Broker, PublishRun};
use crate::effects::Effects;
use crate::error::CloseReason;
use crate::outbound::Outbound;

/// The optional parts of the protocol that this broker offers (docs/protocol.md §14.2); version 1 can't say so.
const CAPABILITIES: u64 = Welcome::TRIM | Welcome::SHARED | Welcome::PATTERNS;

impl Broker {
    /// A new connection. If a limit is exceeded, the session reports this to its peer and closes.
    ///
    /// When too many connections are in their handshake, the one that sent the fewest bytes (of several, the oldest) is
    /// closed for the new one, unless all are younger than 200 ms.
    pub fn accept(&mut self, now: Timestamp, effects: &mut Effects) -> Session {
        Session::new(self.admit(now, effects))
    }
}

impl Session {
    fn new(Admitted { id, config, now, refused, holds }: Admitted) -> Self {
        let handshake_by = now.plus_micros(config.handshake_micros);
        let mut session = Self {
            id,
            decoder: ClientDecoder::handshake(&config.wire),
            config,
            inbound: Inbound::new(),
            outbound: Outbound::default(),
            allowance: 0,
            is_scarce: false,
            lacks: 0,
            wants: 0,
            is_read: true,
            answers: Answers::default(),
            timers: Timers::new(now, handshake_by),
            run: PublishRun::default(),
            state: State::Handshake,
            name: Box::default(),
            stream_answers: 0,
            stream_answers_end: 0,
            eof: false,
            throttled: false,
            publishes: false,
            awaits_sync: false,
            stops_at: None,
        };
        if holds {
            session.outbound.begin_holding();
        }
        if let Some(reason) = refused {
            // It was refused, so the broker does not know it.
            session.finish(now, reason);
            session.state = State::Ended(reason);
        }
        session
    }

    fn welcome(&mut self, version: Version) {
        self.state = State::Welcomed;
        self.decoder.open(version, &self.config.wire);
        self.answers.speak(version);
        let config = &self.config;
        let (instance, limits, server) = (config.instance, config.wire, config.server_name.as_str());
        let welcome =
            Welcome { version: version.number(), instance, limits, capabilities: CAPABILITIES, server };
        self.answers.control(&mut self.outbound, ServerFrame::Welcome(welcome));
    }

    /// Decodes the first frame once it has arrived, and answers it.
    pub(super) fn shake_hands(&mut self, now: Timestamp) {
        match self.decoder.decode(self.inbound.as_slice()) {
            Ok(Some((ClientFrame::Hello(hello), taken))) => {
                let checked = self.config.check(&hello);
                self.name = Box::from(hello.name);
                self.inbound.advance(taken);
                match checked {
                    Ok(version) => self.welcome(version),
                    Err(reason) => self.finish(now, reason),
                }
            }
            Ok(Some((_, taken))) => self.inbound.advance(taken),
            Ok(None) => {}
            Err(error) => self.finish(now, CloseReason::Protocol(error)),
        }
    }
}
