//! Secure links over any reliable byte stream: a TCP connection, a pipe, a serial line.
//!
//! ```text
//! dialler                                      listener
//!   preamble, e                            ->
//!                                          <-  preamble, e, ee, s, es       (Noise XX)
//!   s, se                                  ->
//!   sealed proof of the dialler            ->
//!                                          <-  sealed proof of the listener
//!   sealed chunks                         <->  sealed chunks
//! ```
//! The preamble is the six bytes `E8 48 47 52 4F 57` and the version as u16. All else is in records of a u16
//! length and that many bytes (integers are big-endian throughout). A proof is 32 bytes of peer id, 64 bytes of
//! signature and the largest frame as u32; it is sealed with nonce 0, the chunks after it with 1, 2, 3…
//!
//! A chunk is, before sealing, one byte of kind and at most 65,518 bytes of content. Kinds: 0 a part of a frame that
//! goes on (always full), 1 the last part of a frame, 2 close (content: one byte of reason), 3 sign of life (no
//! content). The parts of one frame follow each other with nothing in between.

pub(crate) mod chunk;
mod handshake;
mod link;

use hedgerow_proto::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::{Address, Identity, Link, LinkConfig, LinkInfo, TransportError};
use handshake::Agreed;

/// Makes a link, as the one who dials, over a stream that is connected already; `address` is where it leads.
///
/// # Errors
/// The handshake fails, takes longer than `config` allows, or `expect` is not who is at the other end.
///
/// # Cancel safety
/// Safe: when the future is dropped early the stream is closed.
pub async fn dial_over<R, W>(
    mut reader: R,
    mut writer: W,
    address: Address,
    identity: &Identity,
    expect: PeerId,
    config: &LinkConfig,
) -> Result<Box<dyn Link>, TransportError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let talk = handshake::initiate(&mut reader, &mut writer, identity, expect, config);
    let agreed = within(config, &address, talk).await?;
    Ok(link(reader, writer, agreed, address, true, config))
}

/// Makes a link, as the one who is dialled, over a stream that is connected already; `address` is where it came from.
///
/// # Errors
/// The handshake fails or takes longer than `config` allows.
///
/// # Cancel safety
/// Safe: when the future is dropped early the stream is closed.
pub async fn accept_over<R, W>(
    mut reader: R,
    mut writer: W,
    address: Address,
    identity: &Identity,
    config: &LinkConfig,
) -> Result<Box<dyn Link>, TransportError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let talk = handshake::respond(&mut reader, &mut writer, identity, config);
    let agreed = within(config, &address, talk).await?;
    Ok(link(reader, writer, agreed, address, false, config))
}

async fn within(
    config: &LinkConfig,
    address: &Address,
    talk: impl Future<Output = Result<Agreed, handshake::Failure>>,
) -> Result<Agreed, TransportError> {
    match timeout(config.handshake_limit(), talk).await {
        Ok(result) => result.map_err(|failure| failure.at(address)),
        Err(_) => Err(TransportError::HandshakeTimeout { limit_ms: config.handshake_limit_ms }),
    }
}

fn link<R, W>(
    reader: R,
    writer: W,
    agreed: Agreed,
    address: Address,
    initiator: bool,
    config: &LinkConfig,
) -> Box<dyn Link>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let Agreed { channel, peer, max_frame } = agreed;
    let info = LinkInfo { peer, reliable: true, max_frame, initiator, address };
    Box::new(link::StreamLink::new(info, Box::new(reader), Box::new(writer), channel, config))
}
