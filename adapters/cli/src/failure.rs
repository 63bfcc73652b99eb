//! Why a command failed, and its exit code.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use zaichik_serve::planted::{Defect, is_planted};
use zaichik_tokio::{ClientError, ErrorClass, FaultCode, LinkError, RequestError};

use crate::printable::printable_line;

/// The exit code of a failed command.
///
/// 0 is success; being stopped by a signal counts as success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Any other error.
    Other = 1,
    /// The command line is wrong, or a file that it names cannot be read.
    Usage = 2,
    /// The broker cannot be reached, or rejects the client.
    Unreachable = 3,
    /// A timeout has expired.
    TimedOut = 4,
    /// The broker refused a request.
    Refused = 5,
    /// Messages are missing, and `--fail-on-gap` was given.
    Gap = 6,
    /// A benchmark did not receive exactly what it published.
    Unverified = 7,
    /// A storage directory is damaged.
    Damaged = 8,
    /// Another program, or another version, wrote a storage directory.
    Foreign = 9,
    /// The operating system could not read or write a storage directory (`EX_IOERR`).
    Storage = 74,
    /// Another process uses a storage directory (`EX_TEMPFAIL`).
    InUse = 75,
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

    /// Adds a text before the message and one after it.
    pub(crate) fn with_context(mut self, before: &str, after: &str) -> Self {
        self.message = format!("{before}{}{after}", self.message);
        self
    }

    /// The error of an output that cannot be written.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        Self::new(Code::Other, format_args!("cannot write the output: {error}"))
    }

    /// Prints one line on stderr; returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        notice(&self.message);
        if self.code == Code::Gap && is_planted(Defect::ExitCodeLost) {
            return ExitCode::SUCCESS;
        }
        ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Prints a line on stderr. It may have text of the broker, so it is made safe to print.
pub(crate) fn notice(message: impl fmt::Display) {
    // There is nowhere to report a failure to write to stderr.
    drop(writeln!(io::stderr(), "zaichik: {}", printable_line(&message.to_string())));
}

#[expect(clippy::wildcard_enum_match_arm, reason = "errors of later versions have no exit code here")]
impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Connect(_) | ClientError::Ended(_) => Code::Unreachable,
            ClientError::Request(RequestError::NotSent { .. } | RequestError::Unknown { .. }) => {
                Code::TimedOut
            }
            ClientError::Fenced { .. } => Code::Refused,
            error if error.class() == ErrorClass::Refused => Code::Refused,
            ClientError::Request(RequestError::Refused { .. }) => Code::Refused,
            error if error.class() == ErrorClass::Retryable => Code::TimedOut,
            _other => Code::Other,
        };
        let failure = Self::new(code, &error);
        match error {
            ClientError::Ended(LinkError::Fatal { code: FaultCode::Unauthorized, .. }) => {
                failure.with_context("", "; give the broker's token with --token-file")
            }
            _other => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_token_is_code_3_and_names_the_flag() {
        let fault = LinkError::Fatal { code: FaultCode::Unauthorized, text: "no".into() };
        let Failure { code, message } = ClientError::Ended(fault).into();
        assert_eq!(code, Code::Unreachable);
        assert!(
            message.ends_with("Unauthorized: no; give the broker's token with --token-file"),
            "{message}"
        );
    }
}
