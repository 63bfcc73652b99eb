//! Formats messages for standard output.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use zaichik_tokio::{Clock, Message};

use super::format::Format;
use crate::json_message::JsonMessage;
use crate::printable::{printable, printable_line};

/// The output format.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ShowArgs {
    /// Print each message in this format: %t topic, %o offset, %T milliseconds since 1970, %k key, %s body, %K and %S
    /// their lengths in bytes, %h headers, %a attempt, %d 1 for a tombstone and 0 otherwise, %s{hex}, %s{base64}, %%,
    /// \n \r \t \0 \\. No newline is added.
    #[arg(short = 'F', long, conflicts_with_all = ["json", "raw", "no_raw"])]
    format: Option<Format>,
    /// Print each message as a line of JSON; keys and bodies that are not UTF-8 are in base64.
    #[arg(short = 'J', long, conflicts_with_all = ["raw", "no_raw"])]
    json: bool,
    /// Print each body and a newline, even on a terminal.
    #[arg(long, overrides_with = "no_raw")]
    raw: bool,
    /// Print messages for people, even if standard output is not a terminal.
    #[arg(long, overrides_with = "raw")]
    no_raw: bool,
}

/// Writes messages in the chosen format.
#[derive(Debug)]
pub(crate) struct MessageWriter<'a> {
    style: Style<'a>,
    /// The number of messages written.
    count: u64,
    clock: Clock,
}

#[derive(Debug)]
enum Style<'a> {
    Human,
    Raw { with_topic: bool },
    Json,
    Format(&'a Format),
}

impl ShowArgs {
    /// A writer in the requested format, or in the default for this standard output: for people on a terminal, raw
    /// otherwise.
    pub(crate) fn writer(&self, with_topic: bool) -> MessageWriter<'_> {
        let style = match &self.format {
            Some(format) => Style::Format(format),
            None if self.json => Style::Json,
            None if self.no_raw || (!self.raw && io::stdout().is_terminal()) => Style::Human,
            None => Style::Raw { with_topic },
        };
        MessageWriter { style, count: 0, clock: Clock::start() }
    }
}

impl MessageWriter<'_> {
    /// The number of messages written.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Appends a message to `out`.
    pub(crate) fn write(&mut self, message: &Message, out: &mut Vec<u8>) {
        self.count = self.count.saturating_add(1);
        match self.style {
            Style::Format(format) => format.write(message, out),
            Style::Json => {
                let shown =
                    JsonMessage::new(&message.topic, message.offset, message.timestamp, message.attempt)
                        .key(message.key.as_deref())
                        .headers(message.headers.iter())
                        .body(Some(&*message.body).filter(|_| !message.tombstone));
                out.extend_from_slice(shown.line().unwrap_or_default().as_bytes());
            }
            Style::Raw { with_topic } => {
                if with_topic {
                    out.extend_from_slice(message.topic.as_bytes());
                    out.push(b' ');
                }
                out.extend_from_slice(&message.body);
                out.push(b'\n');
            }
            Style::Human => self.write_human(message, out),
        }
    }

    fn write_human(&self, message: &Message, out: &mut Vec<u8>) {
        let (number, topic, offset) = (self.count, printable_line(&message.topic), message.offset);
        let mut line = format!("[#{number}] {topic} offset={offset}");
        if let Some(key) = &message.key {
            line.push_str(" key=");
            line.push_str(&printable_line(&String::from_utf8_lossy(key)));
        }
        line.push_str(" age=");
        line.push_str(&age(self.clock.now().since(message.timestamp)));
        if message.attempt > 1 {
            line.push_str(" attempt=");
            line.push_str(&message.attempt.to_string());
        }
        if message.tombstone {
            line.push_str(" tombstone");
        }
        line.push('\n');
        for (name, value) in message.headers.iter() {
            let value = String::from_utf8_lossy(value);
            line.extend([&printable_line(name), ": ", &printable_line(&value), "\n"]);
        }
        if !message.tombstone {
            line.push_str(&printable(&message.body));
            line.push('\n');
        }
        out.extend_from_slice(line.as_bytes());
    }
}

/// An age with a precision that fits its size: `12ms`, `1.2s`, `5m 3s`.
fn age(age: Duration) -> String {
    match age.as_secs() {
        0 => format!("{}ms", age.subsec_millis()),
        1..60 => format!("{}.{}s", age.as_secs(), age.subsec_millis() / 100),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_precision_of_an_age_fits_its_size() {
        for (millis, expected) in
            [(0, "0ms"), (12, "12ms"), (1_250, "1.2s"), (59_999, "59.9s"), (303_700, "5m 3s")]
        {
            assert_eq!(age(Duration::from_millis(millis)), expected);
        }
    }
}
