//! Decodes frames from a stream of bytes.

use core::marker::PhantomData;

use crate::codec::publish::{PlainPublishes, plain_publish};
use crate::error::{ProtocolError, ProtocolFault};
use crate::frame::client::ClientFrame;
use crate::frame::publish::Publish;
use crate::frame::server::ServerFrame;
use crate::header::{FIRST_EXTENSION, FrameHeader, MAGIC, client_kind, server_kind};
use crate::limits::Limits;
use crate::version::Version;

/// Decodes frames from clients: the broker's decoder.
pub type ClientDecoder = Decoder<FromClient>;

/// Decodes frames from the broker: the client's decoder.
pub type ServerDecoder = Decoder<FromServer>;

/// An incremental decoder for one direction of one connection.
///
/// The decoder stores no bytes: the caller keeps them and drops those that a frame consumed. The frames do not depend
/// on how the stream was split. Decoding never allocates.
///
/// ```
/// use zaichik_proto::{ClientDecoder, ClientFrame, Limits};
/// let mut decoder = ClientDecoder::new(&Limits::default());
/// let bytes = [8, 0, 0, 0, 0x0b, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
/// assert_eq!(decoder.decode(&bytes[..10])?, None, "the frame is incomplete");
/// assert_eq!(decoder.decode(&bytes)?, Some((ClientFrame::Ping { nonce: 7 }, 16)));
/// # Ok::<(), zaichik_proto::ProtocolError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decoder<S> {
    limits: Limits,
    /// The version of the connection; before the handshake is done, the first one.
    version: Version,
    phase: Phase,
    position: u64,
    poison: Option<ProtocolError>,
    side: PhantomData<S>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The magic and Hello are expected.
    Magic,
    /// Only a frame of the handshake is allowed, with a small body.
    Handshake,
    /// The frame of the handshake has arrived; nothing is allowed before [`Decoder::open`].
    Greeted,
    /// Every frame but the handshake's is allowed.
    Open,
}

/// A direction of a connection: [`FromClient`] or [`FromServer`].
pub trait Side: sealed::Sealed {
    /// The frames of this direction.
    type Frame<'a>;
}

/// The direction from a client to the broker.
#[derive(Debug, Clone, Copy)]
pub enum FromClient {}

/// The direction from the broker to a client.
#[derive(Debug, Clone, Copy)]
pub enum FromServer {}

impl Side for FromClient {
    type Frame<'a> = ClientFrame<'a>;
}

impl Side for FromServer {
    type Frame<'a> = ServerFrame<'a>;
}

impl<S: Side> Decoder<S> {
    /// Creates a decoder for a connection whose handshake is done, and which speaks version 1.
    #[must_use]
    pub const fn new(limits: &Limits) -> Self {
        Self::speaking(Version::One, limits)
    }

    /// Creates a decoder for a connection whose handshake is done, and which speaks `version`.
    #[must_use]
    pub const fn speaking(version: Version, limits: &Limits) -> Self {
        Self { limits: *limits, version, phase: Phase::Open, position: 0, poison: None, side: PhantomData }
    }

    /// Creates a decoder for a new connection.
    ///
    /// It decodes one frame of the handshake, with a body of at most [`Limits::MAX_HANDSHAKE_FRAME`] bytes, and rejects
    /// everything else until [`open`](Self::open) is called.
    #[must_use]
    pub const fn handshake(limits: &Limits) -> Self {
        let mut decoder = Self::new(limits);
        decoder.phase = if S::HAS_MAGIC { Phase::Magic } else { Phase::Handshake };
        decoder
    }

    /// Ends the handshake: from now on all other frames of `version` are decoded, within `limits`.
    pub const fn open(&mut self, version: Version, limits: &Limits) {
        (self.version, self.limits) = (version, *limits);
        self.phase = Phase::Open;
    }

    /// Decodes the frame at the front of `input`; `None` if it is incomplete.
    ///
    /// Returns the frame and the number of bytes that it consumed; the input of the next call must start after them. A
    /// frame above the limit is refused as soon as its header has arrived.
    ///
    /// # Errors
    /// [`ProtocolError`] if the peer violated the protocol; every later call returns the same error.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(S::Frame<'a>, usize)>, ProtocolError> {
        if let Some(error) = self.poison {
            return Err(error);
        }
        match self.next(input) {
            Ok(Some((frame, taken))) => {
                self.position = self.position.saturating_add(taken as u64);
                if self.phase != Phase::Open {
                    self.phase = Phase::Greeted;
                }
                Ok(Some((frame, taken)))
            }
            Ok(None) => Ok(None),
            Err(fault) => {
                let before = if fault == ProtocolFault::BadMagic { 0 } else { self.magic_len() };
                let offset = self.position.saturating_add(before as u64);
                let error = ProtocolError { offset, fault };
                self.poison = Some(error);
                Err(error)
            }
        }
    }

    /// Takes back the last frame decoded, of `len` bytes: the next call decodes it again. For a caller that has no room
    /// for the answer yet.
    pub const fn take_back(&mut self, len: usize) {
        self.position = self.position.saturating_sub(len as u64);
    }

    /// The length of the frame at the front of `input`, including its header and the magic before it; `None` if its
    /// header is incomplete. Bytes that [`decode`](Self::decode) rejects may have any length.
    ///
    /// ```
    /// use zaichik_proto::{ClientDecoder, Limits};
    /// let decoder = ClientDecoder::new(&Limits::default());
    /// assert_eq!(decoder.frame_len(&[8, 0, 0, 0, 0x0b, 0, 0, 0, 7]), Some(16));
    /// assert_eq!(decoder.frame_len(&[8, 0, 0]), None);
    /// ```
    #[must_use]
    pub fn frame_len(&self, input: &[u8]) -> Option<usize> {
        let magic_len = self.magic_len();
        let (header, _) = input.get(magic_len..)?.split_first_chunk()?;
        let header = FrameHeader::from_bytes(*header).ok()?;
        Some(magic_len.saturating_add(header.frame_len()))
    }

    /// Number of bytes that decoded frames have consumed from the stream, including the magic.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    fn next<'a>(&self, input: &'a [u8]) -> Result<Option<(S::Frame<'a>, usize)>, ProtocolFault> {
        let magic_len = self.magic_len();
        // A wrong byte is refused immediately, even if the magic is incomplete.
        let magic = input.iter().zip(MAGIC).take(magic_len);
        if magic.into_iter().any(|(got, wanted)| *got != wanted) {
            return Err(ProtocolFault::BadMagic);
        }
        let frame = input.get(magic_len..).and_then(<[u8]>::split_first_chunk);
        let Some((header, rest)) = frame else {
            return Ok(None);
        };
        let header = FrameHeader::from_bytes(*header)?;
        self.check_header(header)?;
        let Some(body) = rest.get(..header.body_len as usize) else {
            return Ok(None);
        };
        let frame = S::parse(header.kind, body, self.version, &self.limits)?;
        let taken = magic_len.saturating_add(header.frame_len());
        Ok(Some((frame, taken)))
    }

    /// Bytes before the next frame.
    const fn magic_len(&self) -> usize {
        match self.phase {
            Phase::Magic => MAGIC.len(),
            Phase::Handshake | Phase::Greeted | Phase::Open => 0,
        }
    }

    /// Checks everything that depends on the header alone.
    fn check_header(&self, header: FrameHeader) -> Result<(), ProtocolFault> {
        let kind = header.kind;
        let version = self.version;
        // Before Welcome the version is not known, and only a later one has a frame between Hello and Welcome.
        let is_later = version > Version::One || self.phase == Phase::Handshake;
        if kind == S::RESERVED && is_later {
            return Err(ProtocolFault::Unsupported { kind });
        }
        if kind < FIRST_EXTENSION && !S::kinds(version).contains(&kind) {
            let fault = if S::other_kinds(version).contains(&kind) {
                ProtocolFault::WrongDirection { kind }
            } else {
                ProtocolFault::UnknownKind { kind }
            };
            return Err(fault);
        }
        let (allowed, limit) = match self.phase {
            Phase::Magic | Phase::Handshake => (S::in_handshake(kind), Limits::MAX_HANDSHAKE_FRAME),
            Phase::Greeted => (false, 0),
            Phase::Open => (S::when_open(kind), S::max_frame(&self.limits)),
        };
        if !allowed {
            return Err(ProtocolFault::OutOfPhase { kind });
        }
        header.check_len(limit)
    }
}

impl Decoder<FromClient> {
    /// Decodes the frame at the front of `input` if it is a *plain* publish, as most are: complete, without a
    /// producer, of one record with a body and nothing else.
    ///
    /// Otherwise it returns `None` and changes nothing, and the frame may be of any kind, or invalid: call
    /// [`decode`](Self::decode). For a plain publish `decode` returns the same, at five times the cost.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use zaichik_proto::{AckLevel, ClientDecoder, ClientFrame, Limits, Publish, Record, Records};
    ///
    /// let mut record = BytesMut::new();
    /// Record { body: b"hello", ..Record::default() }.encode(&mut record);
    /// let records = Records::from_encoded(1, &record);
    /// let publish = Publish { request: 1, ack: AckLevel::None, producer: None, topic: b"t", records };
    /// let mut input = BytesMut::new();
    /// ClientFrame::Publish(publish).encode(&mut input);
    /// let mut decoder = ClientDecoder::new(&Limits::default());
    /// assert_eq!(decoder.decode_plain_publish(&input), Some((publish, input.len())));
    /// ```
    #[inline]
    pub fn decode_plain_publish<'a>(&mut self, input: &'a [u8]) -> Option<(Publish<'a>, usize)> {
        if self.phase != Phase::Open || self.poison.is_some() {
            return None;
        }
        let (publish, taken) = plain_publish(input, &self.limits)?;
        self.position = self.position.saturating_add(taken as u64);
        Some((publish, taken))
    }

    /// Decodes the [plain publishes](Self::decode_plain_publish) at the front of `input` that have the topic and
    /// acknowledgement level of `like`, one at a time, up to the first frame that differs.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use zaichik_proto::{AckLevel, ClientDecoder, ClientFrame, Limits, Publish, Record, Records};
    ///
    /// let mut input = BytesMut::new();
    /// for (topic, body) in [("t", "a"), ("t", "bb"), ("t", "long"), ("u", "c")] {
    ///     let mut record = BytesMut::new();
    ///     Record { body: body.as_bytes(), ..Record::default() }.encode(&mut record);
    ///     let (topic, records) = (topic.as_bytes(), Records::from_encoded(1, &record));
    ///     let publish = Publish { request: 0, ack: AckLevel::None, producer: None, topic, records };
    ///     ClientFrame::Publish(publish).encode(&mut input);
    /// }
    /// let mut decoder = ClientDecoder::new(&Limits::default());
    /// let (first, taken) = decoder.decode_plain_publish(&input).expect("a plain publish");
    /// let mut alike = decoder.decode_plain_publishes(&first, &input[taken..]);
    /// assert_eq!(alike.next_within(19).map(|(_, record)| record.len()), Some(18));
    /// assert_eq!(alike.next_within(19), None, "the third record is longer");
    /// assert_eq!(alike.next_within(20).map(|(_, record)| record.len()), Some(20));
    /// assert_eq!(alike.next_within(20), None, "the fourth has another topic");
    /// ```
    #[inline]
    pub const fn decode_plain_publishes<'a>(
        &mut self,
        like: &Publish<'a>,
        input: &'a [u8],
    ) -> PlainPublishes<'_, 'a> {
        let is_open = matches!(self.phase, Phase::Open) && self.poison.is_none() && like.producer.is_none();
        PlainPublishes::new(&self.limits, &mut self.position, like, if is_open { input } else { &[] })
    }
}

mod sealed {
    use core::ops::RangeInclusive;

    use super::{
        ClientFrame, FromClient, FromServer, Limits, ProtocolFault, ServerFrame, Version, client_kind,
        server_kind,
    };

    /// The part of a direction that only this crate uses.
    #[expect(unnameable_types, reason = "a trait that cannot be named cannot be implemented elsewhere")]
    pub trait Sealed {
        /// Whether the direction starts with the magic.
        const HAS_MAGIC: bool;
        /// The kind of this direction that is reserved from version 2 on.
        const RESERVED: u8;
        /// The kinds of this direction.
        fn kinds(version: Version) -> RangeInclusive<u8>;
        /// The kinds of the other direction.
        fn other_kinds(version: Version) -> RangeInclusive<u8>;
        /// The maximum body after the handshake.
        fn max_frame(limits: &Limits) -> u32;
        /// Whether a frame of this kind is allowed in the handshake.
        fn in_handshake(kind: u8) -> bool;
        /// Whether a frame of this kind is allowed after the handshake.
        fn when_open(kind: u8) -> bool;
        /// Reads the body of a frame whose kind is of this direction or an extension.
        fn parse<'a>(
            kind: u8,
            body: &'a [u8],
            version: Version,
            limits: &Limits,
        ) -> Result<Self::Frame<'a>, ProtocolFault>
        where
            Self: super::Side;
    }

    impl Sealed for FromClient {
        const HAS_MAGIC: bool = true;
        const RESERVED: u8 = client_kind::PROOF;

        fn kinds(version: Version) -> RangeInclusive<u8> {
            client_kind::HELLO..=client_kind::last(version)
        }

        fn other_kinds(version: Version) -> RangeInclusive<u8> {
            server_kind::WELCOME..=server_kind::last(version)
        }

        fn max_frame(limits: &Limits) -> u32 {
            limits.max_frame
        }

        fn in_handshake(kind: u8) -> bool {
            kind == client_kind::HELLO
        }

        fn when_open(kind: u8) -> bool {
            kind != client_kind::HELLO
        }

        fn parse<'a>(
            kind: u8,
            body: &'a [u8],
            version: Version,
            limits: &Limits,
        ) -> Result<ClientFrame<'a>, ProtocolFault> {
            ClientFrame::parse(kind, body, version, limits)
        }
    }

    impl Sealed for FromServer {
        const HAS_MAGIC: bool = false;
        const RESERVED: u8 = server_kind::CHALLENGE;

        fn kinds(version: Version) -> RangeInclusive<u8> {
            server_kind::WELCOME..=server_kind::last(version)
        }

        fn other_kinds(version: Version) -> RangeInclusive<u8> {
            client_kind::HELLO..=client_kind::last(version)
        }

        fn max_frame(limits: &Limits) -> u32 {
            // The answer to a batch can be slightly longer than the batch (docs/protocol.md §3.3).
            limits.max_frame.max(Limits::MAX_DELIVERY_FRAME).saturating_add(Limits::FRAME_ROOM)
        }

        fn in_handshake(kind: u8) -> bool {
            kind == server_kind::WELCOME || kind == server_kind::FATAL
        }

        fn when_open(kind: u8) -> bool {
            kind != server_kind::WELCOME
        }

        fn parse<'a>(
            kind: u8,
            body: &'a [u8],
            version: Version,
            _limits: &Limits,
        ) -> Result<ServerFrame<'a>, ProtocolFault> {
            ServerFrame::parse(kind, body, version)
        }
    }
}
