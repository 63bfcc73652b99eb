//! Counts answers of two lines.

use anyhow::{Result, ensure};

use crate::dialect::nats::PING;

/// Counts answers of two lines each, which begin as they should.
#[derive(Debug)]
pub(super) struct AnswerLines {
    begins: [&'static [u8]; 2],
    /// Which of the two lines is incomplete.
    line: usize,
    partial: Vec<u8>,
}

impl AnswerLines {
    /// Answers of which the first line and the second line begin with these bytes.
    pub(super) const fn new(begins: [&'static [u8]; 2]) -> Self {
        Self { begins, line: 0, partial: Vec::new() }
    }

    /// Processes bytes that were read; returns the number of answers that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<u64> {
        let mut answers = 0;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !part.ends_with(b"\n") {
                self.partial.extend_from_slice(part);
            } else if self.partial.is_empty() {
                answers += self.end_of_line(part)?;
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(part);
                answers += self.end_of_line(&line)?;
            }
        }
        Ok(answers)
    }

    fn end_of_line(&mut self, line: &[u8]) -> Result<u64> {
        // nats-server asks once whether the client is there. It waits for the answer for longer than any run.
        if self.line == 0 && line == PING {
            return Ok(0);
        }
        ensure!(
            line.starts_with(self.begins[self.line]),
            "an answer says {:?}",
            String::from_utf8_lossy(line)
        );
        self.line = (self.line + 1) % 2;
        Ok(u64::from(self.line == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_does_not_depend_on_the_sizes_of_reads() {
        let answers = b"$3\r\n1-0\r\n$4\r\n10-0\r\n";
        for size in 1..answers.len() {
            let mut lines = AnswerLines::new([b"$", b""]);
            let counts: Vec<_> = answers.chunks(size).map(|bytes| lines.feed(bytes).unwrap()).collect();
            assert_eq!(counts.iter().sum::<u64>(), 2, "{size}");
        }
    }

    #[test]
    fn a_question_between_answers_is_no_answer() {
        let mut lines = AnswerLines::new([b"MSG i", b"{"]);
        assert_eq!(lines.feed(b"PING\r\nMSG i 1 3\r\n{}\r\nPING\r\n").unwrap(), 1);
        assert!(lines.feed(b"MSG i 1 6\r\nPING\r\n").is_err());
    }

    #[test]
    fn an_error_is_no_answer() {
        assert!(AnswerLines::new([b"$", b""]).feed(b"-OOM\r\n").is_err());
    }
}
