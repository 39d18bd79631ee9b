//! The handshake over a stream, from the preamble to the proofs.

use std::io;

use hedgerow_proto::PeerId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::noise::{Carrier, Channel, FIRST, Handshake, PROOF, SECOND, TAG, THIRD, VERSION};
use crate::{Address, Identity, LinkConfig, TransportError};

/// The first byte is no letter, so that a line of text is told apart at once.
const MAGIC: [u8; 6] = [0xE8, b'H', b'G', b'R', b'O', b'W'];
const SEALED_PROOF: usize = PROOF + TAG;

/// What the handshake comes to.
pub(crate) struct Agreed {
    pub(crate) channel: Channel,
    pub(crate) peer: PeerId,
    /// The lesser of the limits of the two ends, in bytes.
    pub(crate) max_frame: usize,
}

/// Why it failed; the address is added by the caller.
pub(crate) enum Failure {
    Rule(TransportError),
    Io(io::Error),
}

impl Failure {
    pub(crate) fn at(self, address: &Address) -> TransportError {
        match self {
            Self::Rule(error) => error,
            Self::Io(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => TransportError::Interrupted,
                _ => TransportError::io(address, error),
            },
        }
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::Rule(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) async fn initiate(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    identity: &Identity,
    expect: PeerId,
    config: &LinkConfig,
) -> Result<Agreed, Failure> {
    let mut handshake = Handshake::initiator(identity, Carrier::Stream)?;
    let mut out = preamble();
    push(&mut out, &handshake.write::<FIRST>(&[])?);
    write(writer, &out).await?;

    read_preamble(reader).await?;
    handshake.read::<0>(&read::<SECOND>(reader).await?)?;

    let mut out = Vec::new();
    push(&mut out, &handshake.write::<THIRD>(&[])?);
    let channel = handshake.finish()?;
    push(&mut out, &sealed_proof(&channel, identity, config)?);
    write(writer, &out).await?;

    let agreed = check(channel, &read(reader).await?, config)?;
    if agreed.peer != expect {
        return Err(TransportError::WrongPeer { expected: expect, found: agreed.peer }.into());
    }
    Ok(agreed)
}

pub(crate) async fn respond(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    identity: &Identity,
    config: &LinkConfig,
) -> Result<Agreed, Failure> {
    if let Err(failure) = read_preamble(reader).await {
        if matches!(failure, Failure::Rule(TransportError::ForeignVersion { .. })) {
            // So that the other end can say which version it met. That it is gone already is no news.
            let _ = write(writer, &preamble()).await;
        }
        return Err(failure);
    }
    let mut handshake = Handshake::responder(identity, Carrier::Stream)?;
    handshake.read::<0>(&read::<FIRST>(reader).await?)?;

    let mut out = preamble();
    push(&mut out, &handshake.write::<SECOND>(&[])?);
    write(writer, &out).await?;

    handshake.read::<0>(&read::<THIRD>(reader).await?)?;
    let channel = handshake.finish()?;
    // The dialler proves itself first: who only looks who is here has to say who looks.
    let agreed = check(channel, &read(reader).await?, config)?;
    let mut out = Vec::new();
    push(&mut out, &sealed_proof(&agreed.channel, identity, config)?);
    write(writer, &out).await?;
    Ok(agreed)
}

fn sealed_proof(
    channel: &Channel,
    identity: &Identity,
    config: &LinkConfig,
) -> Result<[u8; SEALED_PROOF], TransportError> {
    let mut sealed = [0; SEALED_PROOF];
    let proof = channel.prove(identity, config.max_frame());
    channel.seal(0, &proof, &mut sealed).map_err(|_| TransportError::KeyAgreement)?;
    Ok(sealed)
}

fn check(
    channel: Channel,
    sealed: &[u8; SEALED_PROOF],
    config: &LinkConfig,
) -> Result<Agreed, TransportError> {
    let mut proof = [0; PROOF];
    channel.open(0, sealed, &mut proof).map_err(|_| TransportError::KeyAgreement)?;
    let (peer, theirs) = channel.check(&proof)?;
    Ok(Agreed { channel, peer, max_frame: config.max_frame().min(theirs) })
}

fn preamble() -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_be_bytes()].concat()
}

/// Fails with the first byte that is wrong, without waiting for the rest.
async fn read_preamble(reader: &mut (impl AsyncRead + Unpin)) -> Result<(), Failure> {
    for expected in MAGIC {
        if reader.read_u8().await? != expected {
            return Err(TransportError::NotHedgerow.into());
        }
    }
    match reader.read_u16().await? {
        VERSION => Ok(()),
        theirs => Err(TransportError::ForeignVersion { ours: VERSION, theirs }.into()),
    }
}

fn push<const LEN: usize>(out: &mut Vec<u8>, message: &[u8; LEN]) {
    out.extend_from_slice(&length::<LEN>().to_be_bytes());
    out.extend_from_slice(message);
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// Reads a handshake message. Its length is known at each step; any other is an error at once.
async fn read<const LEN: usize>(reader: &mut (impl AsyncRead + Unpin)) -> Result<[u8; LEN], Failure> {
    if reader.read_u16().await? != length::<LEN>() {
        return Err(TransportError::Malformed("a handshake message of another length than is due").into());
    }
    let mut message = [0; LEN];
    reader.read_exact(&mut message).await?;
    Ok(message)
}

#[expect(clippy::cast_possible_truncation, reason = "checked when it is compiled")]
const fn length<const LEN: usize>() -> u16 {
    const { assert!(LEN <= u16::MAX as usize) };
    LEN as u16
}
