//! Reads the messages to publish.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use zaichik_tokio::{Clock, Outgoing};

use super::fingerprint::Fingerprint;
use super::template;
use crate::failure::{Code, Failure};
use crate::stdin;

/// Maximum size of a message in the input, in bytes; the broker's limit is usually lower.
const MAX_INPUT: usize = 64 << 20;

/// The arguments that select the messages to publish.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(super) struct InputArgs {
    /// Body of the message. Without it, --file and --null, standard input is the message, byte for byte.
    #[arg(conflicts_with_all = ["lines", "file", "null", "key_delim"], help_heading = None)]
    body: Option<OsString>,
    /// Publish each line of the input as a message, without the line ending.
    #[arg(short, long, conflicts_with_all = ["null", "count"])]
    lines: bool,
    /// Read the input from a file; - is standard input.
    #[arg(short, long, value_name = "PATH", conflicts_with = "null")]
    file: Option<PathBuf>,
    /// Publish a tombstone, which deletes the key in a topic with latest compaction.
    #[arg(short, long, requires = "key")]
    null: bool,
    /// Key of every message.
    #[arg(short, long)]
    key: Option<OsString>,
    /// Split each line into a key and a body at the first delimiter; implies --lines.
    #[arg(short = 'K', long, value_name = "DELIMITER", conflicts_with_all = ["key", "count"])]
    key_delim: Option<String>,
    /// Header of every message; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Expire each message after this time, if the topic would keep it longer.
    #[arg(long, value_name = "DURATION", value_parser = parse_ttl)]
    ttl: Option<Duration>,
    /// Number of times to publish the message.
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
    // The spaces inside the braces matter: clap turns the first one without them into a line break.
    /// Replace {{ n }} with the number of the message and {{ ts }} with the time (RFC 3339), in bodies and keys.
    #[arg(long)]
    template: bool,
}

/// The messages of the input, in order.
pub(super) struct Input<'a> {
    args: &'a InputArgs,
    source: Source,
    messages_read: u64,
    /// The size of the last message's key and body in the input.
    message_bytes: usize,
    fingerprint: Option<Fingerprint>,
    clock: Clock,
}

enum Source {
    /// The same body for each message.
    Repeat(Bytes),
    Lines(Lines),
}

/// Reads lines; the part of the next line that has been read is kept.
struct Lines {
    reader: Box<dyn AsyncBufRead + Unpin>,
    partial: Vec<u8>,
}

impl InputArgs {
    /// Opens the input; reads all of it, unless it is read by lines. It has a fingerprint if the messages are published
    /// under a name.
    ///
    /// # Errors
    /// It cannot be read, or is too large for a message.
    pub(super) async fn open(&self, has_fingerprint: bool) -> Result<Input<'_>, Failure> {
        let source = match &self.body {
            Some(body) => Source::Repeat(body.clone().into_encoded_bytes().into()),
            None if self.null => Source::Repeat(Bytes::new()),
            None => {
                let reader = self.reader().await?;
                if self.is_lines() {
                    Source::Lines(Lines { reader: Box::new(BufReader::new(reader)), partial: Vec::new() })
                } else {
                    Source::Repeat(read_all(reader).await?)
                }
            }
        };
        let fingerprint = has_fingerprint.then(|| Fingerprint::new(&self.headers));
        Ok(Input {
            args: self,
            source,
            messages_read: 0,
            message_bytes: 0,
            fingerprint,
            clock: Clock::start(),
        })
    }

    fn is_lines(&self) -> bool {
        self.lines || self.key_delim.is_some()
    }

    async fn reader(&self) -> Result<Box<dyn AsyncRead + Unpin>, Failure> {
        match &self.file {
            Some(path) if path != Path::new("-") => match tokio::fs::File::open(path).await {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(Failure::new(
                    Code::Usage,
                    format_args!("cannot read the file {}: {error}", path.display()),
                )),
            },
            _ => {
                if io::stdin().is_terminal() {
                    let what = if self.is_lines() { "one message per line" } else { "the message" };
                    drop(writeln!(io::stderr(), "reading {what} from the terminal; press Ctrl-D to finish"));
                }
                Ok(Box::new(stdin::open()?))
            }
        }
    }
}

impl Input<'_> {
    /// The next message; `None` at the end. No input is lost if the future is dropped.
    ///
    /// # Errors
    /// The input cannot be read, or a line is too long or has no key.
    pub(super) async fn next(&mut self) -> Result<Option<Outgoing>, Failure> {
        let number = self.messages_read.saturating_add(1);
        let (key, body) = match &mut self.source {
            Source::Repeat(_) if self.messages_read >= self.args.count => return Ok(None),
            Source::Repeat(body) => (None, body.clone()),
            Source::Lines(lines) => {
                let Some(line) = lines.next().await.map_err(|error| unreadable(number, &error))? else {
                    return Ok(None);
                };
                match &self.args.key_delim {
                    None => (None, line),
                    Some(delimiter) => split(&line, delimiter.as_bytes()).ok_or_else(|| {
                        Failure::new(
                            Code::Usage,
                            format_args!("line {number} has no delimiter {delimiter:?} between key and body"),
                        )
                    })?,
                }
            }
        };
        self.messages_read = number;
        let fixed_key = self.args.key.as_ref().map(|key| Bytes::from(key.clone().into_encoded_bytes()));
        let key = key.or(fixed_key);
        self.message_bytes = body.len().saturating_add(key.as_ref().map_or(0, Bytes::len));
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.add(key.as_deref(), (!self.args.null).then_some(&body));
        }
        Ok(Some(self.message(key, body)))
    }

    /// The fingerprint of the messages read so far, as they are in the input: templates are not filled in.
    pub(super) const fn fingerprint(&self) -> Option<&Fingerprint> {
        self.fingerprint.as_ref()
    }

    /// The number of messages read so far.
    pub(super) const fn messages_read(&self) -> u64 {
        self.messages_read
    }

    /// The size of the last message's key and body, before templates are filled in.
    pub(super) const fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// The prefix of an error about a message; empty if there is only one message.
    pub(super) fn error_prefix(&self, number: u64) -> String {
        match &self.source {
            Source::Lines(_) => format!("line {number}: "),
            Source::Repeat(_) if self.args.count > 1 => format!("message {number}: "),
            Source::Repeat(_) => String::new(),
        }
    }

    fn message(&self, key: Option<Bytes>, body: Bytes) -> Outgoing {
        let fill = |text: Bytes| {
            if self.args.template {
                template::fill(&text, self.messages_read, self.clock.now())
            } else {
                text
            }
        };
        let message = match key.map(fill) {
            Some(key) if self.args.null => Outgoing::tombstone(key),
            Some(key) => Outgoing::new(fill(body)).key(key),
            None => Outgoing::new(fill(body)),
        };
        let message = self.args.headers.iter().fold(message, |message, (name, value)| {
            message.header(name.as_str(), value.clone().into_bytes())
        });
        match self.args.ttl {
            Some(ttl) => message.ttl(ttl),
            None => message,
        }
    }
}

impl Lines {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                let last = std::mem::take(&mut self.partial);
                return Ok(Some(last).filter(|last| !last.is_empty()).map(Bytes::from));
            }
            let (line, is_whole) = match available.iter().position(|byte| *byte == b'\n') {
                Some(end) => (available.get(..end).unwrap_or_default(), true),
                None => (available, false),
            };
            self.partial.extend_from_slice(line);
            let used = line.len().saturating_add(usize::from(is_whole));
            self.reader.consume(used);
            if self.partial.len() > MAX_INPUT {
                return Err(io::Error::other(too_large()));
            }
            if is_whole {
                return Ok(Some(std::mem::take(&mut self.partial).into()));
            }
        }
    }
}

async fn read_all(reader: impl AsyncRead + Unpin) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    let limit = MAX_INPUT.saturating_add(1);
    let read = reader.take(limit as u64).read_to_end(&mut body).await;
    read.map_err(|error| Failure::new(Code::Other, format_args!("cannot read the message: {error}")))?;
    if body.len() > MAX_INPUT {
        return Err(Failure::new(Code::Refused, format_args!("the message is too large: {}", too_large())));
    }
    Ok(body.into())
}

fn too_large() -> String {
    format!("it has more than {} MiB; split it", MAX_INPUT >> 20)
}

fn unreadable(number: u64, error: &io::Error) -> Failure {
    Failure::new(Code::Other, format_args!("cannot read line {number}: {error}"))
}

/// The key and the body of a line; `None` if it has no delimiter.
fn split(line: &Bytes, delimiter: &[u8]) -> Option<(Option<Bytes>, Bytes)> {
    let at = line.windows(delimiter.len().max(1)).position(|found| found == delimiter)?;
    let after = at.saturating_add(delimiter.len());
    Some((Some(line.slice(..at)), line.slice(after..)))
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()))
        }
        _ => Err("use a name and a value with a colon between, such as trace:a1b2".to_owned()),
    }
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if ttl.as_micros() == 0 {
        return Err("use a duration of at least 1us".to_owned());
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_the_first_delimiter() {
        let split = |line: &'static str, delimiter: &str| {
            split(&Bytes::from_static(line.as_bytes()), delimiter.as_bytes())
        };
        let parts = |key: &'static str, body: &'static str| Some((Some(key.into()), body.into()));
        assert_eq!(split("a:b:c", ":"), parts("a", "b:c"));
        assert_eq!(split(":", ":"), parts("", ""));
        assert_eq!(split("a=>b", "=>"), parts("a", "b"));
        assert_eq!(split("a", ":"), None);
        assert_eq!(split("", ":"), None);
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        assert_eq!(parse_header("trace: a:b"), Ok(("trace".to_owned(), "a:b".to_owned())));
        assert_eq!(parse_header("empty:"), Ok(("empty".to_owned(), String::new())));
        assert!(parse_header(": x").is_err());
        assert!(parse_header("x").is_err());
    }

    #[tokio::test]
    async fn lines_end_with_or_without_a_newline() {
        let mut lines = Lines { reader: Box::new(&b"one\n\n\xff\r\nlast"[..]), partial: Vec::new() };
        for expected in [&b"one"[..], b"", b"\xff\r", b"last"] {
            assert_eq!(lines.next().await.expect("bytes").as_deref(), Some(expected));
        }
        assert_eq!(lines.next().await.expect("bytes"), None);
    }
}
