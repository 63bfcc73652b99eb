//! `--format`: prints messages in a format of the user's choice.

use std::str::{Chars, FromStr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zaichik_tokio::Message;

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Topic,
    Offset,
    /// Milliseconds since 1970.
    Time,
    Attempt,
    /// 1 for a tombstone, which deletes its key; 0 for any other message.
    Tombstone,
    Headers,
    Key(Encoding),
    KeyLength,
    Body(Encoding),
    BodyLength,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Hex,
    Base64,
}

impl Format {
    /// Appends the message to `out`.
    pub(super) fn write(&self, message: &Message, out: &mut Vec<u8>) {
        let key = message.key.as_deref().unwrap_or_default();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text),
                Piece::Topic => out.extend_from_slice(message.topic.as_bytes()),
                Piece::Offset => number(message.offset, out),
                Piece::Time => number(message.timestamp.as_micros() / 1_000, out),
                Piece::Attempt => number(message.attempt.into(), out),
                Piece::Tombstone => number(message.tombstone.into(), out),
                Piece::Headers => headers(message, out),
                Piece::Key(encoding) => encoding.write(key, out),
                Piece::KeyLength => number(key.len() as u64, out),
                Piece::Body(encoding) => encoding.write(&message.body, out),
                Piece::BodyLength => number(message.body.len() as u64, out),
            }
        }
    }
}

impl Encoding {
    fn write(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain => out.extend_from_slice(bytes),
            Self::Hex => out.extend(bytes.iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 15)])),
            Self::Base64 => out.extend_from_slice(STANDARD.encode(bytes).as_bytes()),
        }
    }

    /// Parses an optional name in braces after `%s` or `%k`.
    fn parse(rest: &mut Chars<'_>) -> Result<Self, String> {
        let Some(after) = rest.as_str().strip_prefix('{') else {
            return Ok(Self::Plain);
        };
        let (encoding, after) = match after.split_once('}') {
            Some(("hex", after)) => (Self::Hex, after),
            Some(("base64", after)) => (Self::Base64, after),
            Some((name, _)) => {
                return Err(format!("{{{name}}} is not an encoding; use {{hex}} or {{base64}}"));
            }
            None => return Err("a { has no matching }".to_owned()),
        };
        *rest = after.chars();
        Ok(encoding)
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.chars();
        while let Some(next) = rest.next() {
            let piece = match next {
                '%' => placeholder(&mut rest)?,
                '\\' => Piece::Literal(escape(&mut rest)?),
                other => Piece::Literal(other.to_string().into_bytes()),
            };
            match (pieces.last_mut(), piece) {
                (Some(Piece::Literal(last)), Piece::Literal(text)) => last.extend(text),
                (_, piece) => pieces.push(piece),
            }
        }
        Ok(Self(pieces))
    }
}

fn placeholder(rest: &mut Chars<'_>) -> Result<Piece, String> {
    Ok(match rest.next() {
        Some('t') => Piece::Topic,
        Some('o') => Piece::Offset,
        Some('T') => Piece::Time,
        Some('a') => Piece::Attempt,
        Some('d') => Piece::Tombstone,
        Some('h') => Piece::Headers,
        Some('k') => Piece::Key(Encoding::parse(rest)?),
        Some('K') => Piece::KeyLength,
        Some('s') => Piece::Body(Encoding::parse(rest)?),
        Some('S') => Piece::BodyLength,
        Some('%') => Piece::Literal(b"%".to_vec()),
        Some(other) => {
            return Err(format!("unknown placeholder %{other}; use %t %o %T %k %K %s %S %h %a %d or %%"));
        }
        None => return Err("a % at the end has no meaning; use %% for a percent sign".to_owned()),
    })
}

fn escape(rest: &mut Chars<'_>) -> Result<Vec<u8>, String> {
    Ok(match rest.next() {
        Some('n') => b"\n".to_vec(),
        Some('r') => b"\r".to_vec(),
        Some('t') => b"\t".to_vec(),
        Some('0') => b"\0".to_vec(),
        Some('\\') => b"\\".to_vec(),
        Some(other) => return Err(format!("unknown escape \\{other}; use \\n \\r \\t \\0 or \\\\")),
        None => return Err("a \\ at the end has no meaning; use \\\\ for a backslash".to_owned()),
    })
}

/// `name=value` of each header, with commas between.
fn headers(message: &Message, out: &mut Vec<u8>) {
    for (index, (name, value)) in message.headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(number.to_string().as_bytes());
}

fn hex(digit: u8) -> u8 {
    char::from_digit(digit.into(), 16).map_or(b'?', |digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_parsed_into_pieces() {
        let literal = |text: &str| Piece::Literal(text.as_bytes().to_vec());
        let format = "%t/%o: %s{hex}%k{base64}%%\\n".parse();
        let pieces = vec![
            Piece::Topic,
            literal("/"),
            Piece::Offset,
            literal(": "),
            Piece::Body(Encoding::Hex),
            Piece::Key(Encoding::Base64),
            literal("%\n"),
        ];
        assert_eq!(format, Ok(Format(pieces)));
        assert_eq!(
            "%t{hex}".parse(),
            Ok(Format(vec![Piece::Topic, literal("{hex}")])),
            "only bytes are encoded"
        );
        for wrong in ["%", "%x", "%s{", "%s{oct}", "\\", "\\q"] {
            assert!(wrong.parse::<Format>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_encoded_as_the_format_says() {
        for (encoding, expected) in
            [(Encoding::Plain, &b"\x0f\xa0"[..]), (Encoding::Hex, b"0fa0"), (Encoding::Base64, b"D6A=")]
        {
            let mut out = Vec::new();
            encoding.write(b"\x0f\xa0", &mut out);
            assert_eq!(out, expected);
        }
    }
}
