//! Why a command failed, and the code that its process ends with.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use zaichik_tokio::{ClientError, ErrorClass, RequestError};

/// How a process ends that did not do what it was asked for.
///
/// 0 is success, and so is being asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Anything that has no code of its own.
    Other = 1,
    /// The command line, or what it names, is wrong.
    Usage = 2,
    /// There is no broker at the address, or it does not let the command in.
    Unreachable = 3,
    /// The time that was given is over.
    TimedOut = 4,
    /// The broker said no.
    Refused = 5,
    /// What a benchmark measured is not what was published.
    Unverified = 7,
}

/// A failed command: what happened, to what, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// Tells it in one line, and ends the process with its code.
    pub(crate) fn report(self) -> ExitCode {
        // Nobody can be told that it can't be told.
        drop(writeln!(io::stderr(), "zaichik: {}", self.message));
        ExitCode::from(self.code as u8)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "errors of later versions have no code of their own")]
impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Connect(_) | ClientError::Ended(_) => Code::Unreachable,
            ClientError::Request(RequestError::NotSent { .. } | RequestError::Unknown { .. }) => {
                Code::TimedOut
            }
            error if error.class() == ErrorClass::Refused => Code::Refused,
            ClientError::Request(RequestError::Refused { .. }) => Code::Refused,
            error if error.class() == ErrorClass::Retryable => Code::TimedOut,
            _other => Code::Other,
        };
        Self::new(code, error)
    }
}
