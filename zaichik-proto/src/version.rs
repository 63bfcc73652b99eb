//! The versions of the protocol, and which one a connection speaks (docs/protocol.md §3.2).

/// A version of the protocol.
///
/// Version 1 never changes. Later versions add fields to frames of version 1, and frames of their own; the frames of a
/// connection follow the version in its Welcome.
///
/// ```
/// use zaichik_proto::Version;
/// assert_eq!(Version::negotiate(1), Some(Version::One), "an older client is served in its version");
/// assert_eq!(Version::negotiate(7), Some(Version::NEWEST), "a newer one falls back");
/// assert_eq!(Version::negotiate(0), None, "version 0 does not exist");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The first version, which is frozen.
    One,
    /// Version 1 with the additions of docs/protocol.md §14.
    Two,
}

impl Version {
    /// The newest version that this crate implements.
    pub const NEWEST: Self = Self::Two;

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// The version with a number; `None` if this crate does not implement it.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            _ => None,
        }
    }

    /// The version that a broker speaks with a client whose Hello names `highest`; `None` if there is none.
    #[must_use]
    pub const fn negotiate(highest: u16) -> Option<Self> {
        match highest {
            0 => None,
            1 => Some(Self::One),
            _ => Some(Self::NEWEST),
        }
    }
}
