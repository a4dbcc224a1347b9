//! RESP, versions 2 and 3: enough of it to ask a server and to know the frames that pass a proxy.

use std::fmt;
use std::io::{self, Read, Write};

/// A reply of Redis.
///
/// [`Display`](fmt::Display) shows it as `redis-cli --raw` does: text as it is, one line for each
/// element of a list.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Nil,
    /// A status such as `OK`, a big number, a double: what comes as a line of text.
    Simple(String),
    /// An error, with its code as the first word: `NOSCRIPT No matching script`.
    Error(String),
    /// An integer.
    Integer(i64),
    /// A boolean (RESP3).
    Boolean(bool),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// A list, or a set (RESP3).
    List(Vec<Value>),
    /// A map (RESP3). With RESP2 it comes as a list of keys and values.
    Map(Vec<(Value, Value)>),
    /// What the server says without being asked (RESP3).
    Push(Vec<Value>),
}

impl Value {
    /// The text of a string or a status.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) => Some(text.clone()),
            Self::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The bytes of a string.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Simple(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The number, also where it comes as text.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Boolean(value) => Some(i64::from(*value)),
            other => other.text()?.parse().ok(),
        }
    }

    /// The elements of a list; nothing for anything else.
    #[must_use]
    pub fn list(&self) -> &[Value] {
        match self {
            Self::List(values) | Self::Push(values) => values,
            _ => &[],
        }
    }

    /// What stands under `name` in a map, also in one that comes as a list of keys and values.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        let is_it = |key: &Value| key.bytes() == Some(name.as_bytes());
        match self {
            Self::Map(entries) => entries.iter().find(|(key, _)| is_it(key)).map(|(_, v)| v),
            Self::List(values) => values.chunks_exact(2).find_map(|pair| match pair {
                [key, value] if is_it(key) => Some(value),
                _ => None,
            }),
            _ => None,
        }
    }

    /// The error, if it is one.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn lines<'a>(
            f: &mut fmt::Formatter<'_>,
            values: impl IntoIterator<Item = &'a Value>,
        ) -> fmt::Result {
            for (n, value) in values.into_iter().enumerate() {
                if n > 0 {
                    f.write_str("\n")?;
                }
                value.fmt(f)?;
            }
            Ok(())
        }
        match self {
            Self::Nil => Ok(()),
            Self::Simple(text) | Self::Error(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::Bulk(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::List(values) | Self::Push(values) => lines(f, values),
            Self::Map(entries) => lines(f, entries.iter().flat_map(|(k, v)| [k, v])),
        }
    }
}

/// Bytes that are not RESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub(super) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not RESP: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// The first value in `bytes` and how many bytes it takes, or nothing if it is not all there yet.
///
/// # Errors
/// When the bytes are not RESP.
pub fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, Malformed> {
    let mut reader = Reader { bytes, at: 0 };
    match reader.value() {
        Ok(value) => Ok(Some((value, reader.at))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Malformed(why)) => Err(why),
    }
}

enum Stop {
    Incomplete,
    Malformed(Malformed),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or(Stop::Incomplete)?;
        self.at += end + 2;
        Ok(rest.get(..end).unwrap_or_default())
    }

    fn length(line: &[u8]) -> Result<Option<usize>, Stop> {
        let text = String::from_utf8_lossy(line);
        match text.parse::<i64>() {
            Ok(-1) => Ok(None),
            // A string of Redis has at most 512 MiB unless it is told otherwise.
            Ok(length) if (0..=1 << 30).contains(&length) => Ok(usize::try_from(length).ok()),
            _ => Err(Stop::Malformed(Malformed(format!("the length {text:?}")))),
        }
    }

    fn body(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let body = self.bytes.get(self.at..self.at + length).ok_or(Stop::Incomplete)?;
        let end = self.bytes.get(self.at + length..self.at + length + 2);
        match end {
            None => return Err(Stop::Incomplete),
            Some(b"\r\n") => {}
            Some(_) => return Err(Stop::Malformed(Malformed("a string without its end".into()))),
        }
        self.at += length + 2;
        Ok(body)
    }

    fn values(&mut self, count: usize) -> Result<Vec<Value>, Stop> {
        (0..count).map(|_| self.value()).collect()
    }

    fn value(&mut self) -> Result<Value, Stop> {
        let line = self.line()?;
        let Some((kind, rest)) = line.split_first() else {
            return Err(Stop::Malformed(Malformed("an empty line".into())));
        };
        let text = || String::from_utf8_lossy(rest).into_owned();
        Ok(match kind {
            b'+' | b',' | b'(' => Value::Simple(text()),
            b'-' => Value::Error(text()),
            b'_' => Value::Nil,
            b'#' => Value::Boolean(rest == b"t"),
            b':' => Value::Integer(
                text()
                    .parse()
                    .map_err(|_| Stop::Malformed(Malformed(format!("the integer {:?}", text()))))?,
            ),
            b'$' | b'=' | b'!' => match Self::length(rest)? {
                None => Value::Nil,
                Some(length) => {
                    let body = self.body(length)?;
                    match kind {
                        b'!' => Value::Error(String::from_utf8_lossy(body).into_owned()),
                        // A verbatim string begins with its format: "txt:".
                        b'=' => Value::Bulk(body.get(4..).unwrap_or_default().to_vec()),
                        _ => Value::Bulk(body.to_vec()),
                    }
                }
            },
            b'*' | b'~' | b'>' => match Self::length(rest)? {
                None => Value::Nil,
                Some(count) if *kind == b'>' => Value::Push(self.values(count)?),
                Some(count) => Value::List(self.values(count)?),
            },
            b'%' => {
                let count = Self::length(rest)?.unwrap_or_default();
                let entries = (0..count).map(|_| Ok((self.value()?, self.value()?)));
                Value::Map(entries.collect::<Result<_, Stop>>()?)
            }
            // Attributes: something about the value that follows.
            b'|' => {
                let count = Self::length(rest)?.unwrap_or_default();
                self.values(count * 2)?;
                self.value()?
            }
            other => {
                let what = format!("a value that begins with {:?}", char::from(*other));
                return Err(Stop::Malformed(Malformed(what)));
            }
        })
    }
}

/// A command as a client sends it.
pub(super) fn command<A: AsRef<[u8]>>(words: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Reads one reply.
pub(super) fn reply(stream: &mut impl Read) -> io::Result<Value> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
        }
        if let Some((value, _)) = parse(&bytes).map_err(io::Error::other)? {
            return Ok(value);
        }
    }
}

/// Sends one command and reads the reply.
pub(super) fn ask<A: AsRef<[u8]>>(
    stream: &mut (impl Read + Write),
    words: &[A],
) -> io::Result<Value> {
    stream.write_all(&command(words))?;
    reply(stream)
}
