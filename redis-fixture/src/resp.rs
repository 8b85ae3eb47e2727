use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The time in which a server answers the fixture itself, unless it is stopped or gone.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A server's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Nil: the key or element does not exist.
    Nil,
    /// `+OK` and the like.
    Status(String),
    /// An error, with its code.
    Error(String),
    /// A number.
    Int(i64),
    /// A string of arbitrary bytes.
    Bulk(Vec<u8>),
    /// An array of replies.
    Array(Vec<Reply>),
}

impl Reply {
    /// Returns the reply as text; a number as digits.
    ///
    /// # Panics
    /// On nil, an error, an array, and bytes that are not UTF-8.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Self::Status(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bulk(bytes) => String::from_utf8(bytes.clone()).expect("a reply in UTF-8"),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Returns the reply as a number.
    ///
    /// # Panics
    /// On anything but a number.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("expected a number, got {other:?}"),
        }
    }

    /// Returns the elements of an array.
    ///
    /// # Panics
    /// On anything but an array.
    #[track_caller]
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::Array(items) => items,
            other => panic!("expected an array, got {other:?}"),
        }
    }

    /// Returns the value of `name` in an array of names and values, or nil if it has none.
    ///
    /// # Panics
    /// On anything but such an array.
    #[track_caller]
    pub fn field(&self, name: &str) -> &Reply {
        let mut pairs = self.items().chunks(2);
        let pair = pairs.find(|pair| pair[0].text() == name);
        pair.map_or(&Reply::Nil, |pair| &pair[1])
    }

    /// Returns whether the reply is nil.
    pub fn is_nil(&self) -> bool {
        *self == Self::Nil
    }
}

/// A plain connection, for commands that need to share one, such as `SUBSCRIBE`.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to `host:port`.
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a command and reads its reply. A reply that takes longer than five seconds is an
    /// error.
    pub fn command<A: AsRef<[u8]>>(&mut self, command: &[A]) -> io::Result<Reply> {
        self.send(command)?;
        self.read()
    }

    /// Sends a command without waiting for its reply.
    pub fn send<A: AsRef<[u8]>>(&mut self, command: &[A]) -> io::Result<()> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command {
            let argument = argument.as_ref();
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes)
    }

    /// Reads the next reply or message, for at most five seconds.
    pub fn read(&mut self) -> io::Result<Reply> {
        read(&mut self.stream)
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end_matches("\r\n");
    let number = |text: &str| text.parse::<i64>().map_err(io::Error::other);
    Ok(match line.split_at_checked(1) {
        Some(("+", text)) => Reply::Status(text.into()),
        Some(("-", text)) => Reply::Error(text.into()),
        Some((":", text)) => Reply::Int(number(text)?),
        Some(("$", text)) => match usize::try_from(number(text)?) {
            Ok(len) => {
                let mut bytes = vec![0; len + 2];
                stream.read_exact(&mut bytes)?;
                bytes.truncate(len);
                Reply::Bulk(bytes)
            }
            Err(_) => Reply::Nil,
        },
        Some(("*", text)) => match usize::try_from(number(text)?) {
            Ok(len) => Reply::Array((0..len).map(|_| read(stream)).collect::<io::Result<_>>()?),
            Err(_) => Reply::Nil,
        },
        _ => return Err(io::Error::other(format!("not RESP2: {line:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::{Reply, read};

    #[test]
    fn replies_of_every_kind() {
        let mut bytes: &[u8] =
            b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$4\r\na\r\nb\r\n$-1\r\n*0\r\n*-1\r\n";
        let expected = [
            Reply::Status("OK".into()),
            Reply::Error("ERR no".into()),
            Reply::Int(-7),
            Reply::Bulk(b"a\r\nb".to_vec()),
            Reply::Nil,
            Reply::Array(vec![]),
        ];
        assert_eq!(
            read(&mut bytes).expect("six"),
            Reply::Array(expected.to_vec())
        );
        assert_eq!(read(&mut bytes).expect("nil"), Reply::Nil);
        assert!(read(&mut bytes).is_err(), "the end is an error");
    }
}
