//! Lines of bounded length.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// Reads one line of at most `max` bytes, without its end; `None` at the end of the stream.
pub(crate) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    max: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    // One more for the end of the line.
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() >= max => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {max} bytes")))
        }
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_up_to_the_limit_are_read() {
        let mut input: &[u8] = b"abc\n\nabcd\nx";
        assert_eq!(read_line(&mut input, 4).await.unwrap().as_deref(), Some(b"abc".as_slice()));
        assert_eq!(read_line(&mut input, 4).await.unwrap().as_deref(), Some(b"".as_slice()));
        assert_eq!(read_line(&mut input, 4).await.unwrap().as_deref(), Some(b"abcd".as_slice()));
        assert_eq!(read_line(&mut input, 4).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read_line(&mut input, 4).await.unwrap(), None);
        let mut input: &[u8] = b"abcde\n";
        assert_eq!(read_line(&mut input, 4).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
