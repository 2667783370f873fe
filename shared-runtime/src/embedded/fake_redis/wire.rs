//! From bytes to commands, within limits.

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::BytesFrame;

/// Arguments a command may have.
const MAX_ARGUMENTS: usize = 65_536;
/// Bytes one argument may have.
const MAX_ARGUMENT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes one command may have.
const MAX_COMMAND_BYTES: usize = 16 * 1024 * 1024;

/// Takes the next complete command off the buffer; `None` until all of it has arrived.
///
/// # Errors
/// What breaks the protocol or the limits, as the text of an error reply; the connection cannot go on.
pub(super) fn next_command(buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, String> {
    loop {
        let Some(end) = complete(buffer)? else { return Ok(None) };
        // A copy, so that a stored value never keeps a whole read buffer alive.
        let mut command = BytesMut::from(&buffer.split_to(end)[..]);
        let Ok(Some((BytesFrame::Array(frames), _, _))) = decode_bytes_mut(&mut command) else {
            return Err("Protocol error".to_owned());
        };
        let args: Option<Vec<Bytes>> = frames
            .into_iter()
            .map(|frame| match frame {
                BytesFrame::BulkString(bytes) => Some(Bytes::copy_from_slice(&bytes)),
                _ => None,
            })
            .collect();
        match args {
            None => return Err("Protocol error: expected '$'".to_owned()),
            // An empty command is skipped, as Redis does.
            Some(args) if args.is_empty() => {}
            Some(args) => return Ok(Some(args)),
        }
    }
}

/// Where the first command ends. Only a flat array of strings passes: the decoder recurses and trusts lengths, so
/// nothing else reaches it.
fn complete(buffer: &[u8]) -> Result<Option<usize>, String> {
    let Some((count, mut at)) = header(buffer, 0, b'*', MAX_ARGUMENTS, "invalid multibulk length")? else {
        return Ok(None);
    };
    for _ in 0..count {
        let Some((length, after)) = header(buffer, at, b'$', MAX_ARGUMENT_BYTES, "invalid bulk length")?
        else {
            return Ok(None);
        };
        at = after + length + 2;
        if at > MAX_COMMAND_BYTES {
            return Err("Protocol error: too big command".to_owned());
        }
        if buffer.len() < at {
            return Ok(None);
        }
        if &buffer[at - 2..at] != b"\r\n" {
            return Err("Protocol error: invalid bulk length".to_owned());
        }
    }
    Ok(Some(at))
}

/// Reads `kind`, a length and the line's end at `at`: the length and where the line ends.
fn header(
    buffer: &[u8],
    at: usize,
    kind: u8,
    max: usize,
    problem: &str,
) -> Result<Option<(usize, usize)>, String> {
    let Some(rest) = buffer.get(at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
    if rest[0] != kind {
        return Err(format!("Protocol error: expected '{}'", char::from(kind)));
    }
    // A length within the limits has at most 8 digits.
    let line = &rest[1..rest.len().min(12)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if line.len() < 11 { Ok(None) } else { Err(format!("Protocol error: {problem}")) };
    };
    let length = std::str::from_utf8(&line[..end]).ok().and_then(|text| text.parse::<usize>().ok());
    match length.filter(|length| *length <= max) {
        Some(length) => Ok(Some((length, at + 1 + end + 2))),
        None => Err(format!("Protocol error: {problem}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_off_whole_or_not_at_all() {
        let wire = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n*1\r\n$4\r\nPING\r\n";
        for cut in 0..20 {
            let mut part = BytesMut::from(&wire[..cut]);
            assert_eq!(next_command(&mut part), Ok(None), "{cut}");
            assert_eq!(part.len(), cut);
        }
        let mut all = BytesMut::from(&wire[..]);
        assert_eq!(next_command(&mut all), Ok(Some(vec![Bytes::from("GET"), Bytes::from("k")])));
        assert_eq!(next_command(&mut all), Ok(Some(vec![Bytes::from("PING")])));
        assert_eq!(next_command(&mut all), Ok(None));
    }

    #[test]
    fn garbage_and_oversize_are_refused() {
        for wire in [
            "GET / HTTP/1.1\r\n".to_owned(),
            "*99999999\r\n".to_owned(),
            "*-1\r\n".to_owned(),
            "*1\r\n$999999999\r\n".to_owned(),
            "*1\r\n*1\r\n".repeat(1000),
            "*1\r\n:5\r\n".to_owned(),
            "*1\r\n$1\r\nabc".to_owned(),
            "*111111111111111111".to_owned(),
        ] {
            let shown: String = wire.chars().take(30).collect();
            assert!(next_command(&mut BytesMut::from(wire.as_bytes())).is_err(), "{shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = next_command(&mut buffer) {}
        }
    }
}
