//! Seals and signatures beside what they are made of.

use hedgerow_clients::{Author, Client as _, Content, PostDraft, PublicClient, PublicGroup};
use hedgerow_proto::Message;
use hedgerow_transports::fuzzing::{StreamPair, Taken};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::measure::{Scale, alternate, cpu, size_f64};
use super::row::{Goal, Row};
use crate::Failure;

const FRAME: usize = 32 * 1024;

fn key() -> Result<LessSafeKey, Failure> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).map_err(|_| "no key")?;
    Ok(LessSafeKey::new(key))
}

fn nonce(n: u64) -> Nonce {
    let mut bytes = [0; 12];
    for (byte, of_n) in bytes.iter_mut().zip(n.to_le_bytes()) {
        *byte = of_n;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// The AEAD alone: frames are sealed in place and opened in place, MB in a CPU second.
fn aead(frames: u64) -> Result<f64, Failure> {
    let (key, mut buffer) = (key()?, vec![5; FRAME]);
    let ((), seconds) = cpu(|| {
        for n in 0..frames {
            key.seal_in_place_append_tag(nonce(n), Aad::empty(), &mut buffer).map_err(|_| "no seal")?;
            key.open_in_place(nonce(n), Aad::empty(), &mut buffer).map_err(|_| "not authentic")?;
            buffer.truncate(FRAME);
        }
        Ok(())
    })?;
    Ok(rate(frames, seconds))
}

/// A link: a frame to sealed chunks and back, MB in a CPU second.
fn link(frames: u64) -> Result<f64, Failure> {
    let (mut pair, frame) = (StreamPair::new(1 << 20), vec![5; FRAME]);
    let (taken, seconds) = cpu(|| {
        let (mut count, mut taken) = (0, Vec::new());
        for _ in 0..frames {
            let sealed = pair.seal_frame(&frame)?;
            pair.arrive(&sealed, &mut taken)?;
            let whole = |taken: &Taken| matches!(taken, Taken::Frame(bytes) if bytes.len() == FRAME);
            count += taken.drain(..).filter(whole).count() as u64;
        }
        Ok(count)
    })?;
    if taken != frames {
        return Err(format!("{taken} of {frames} frames arrived").into());
    }
    Ok(rate(frames, seconds))
}

fn rate(frames: u64, seconds: f64) -> f64 {
    size_f64(FRAME) * super::measure::to_f64(frames) / seconds / 1e6
}

/// Sealing and opening of frames beside the AEAD.
pub(crate) fn sealing(scale: Scale) -> Result<Vec<Row>, Failure> {
    let frames = scale.pick(500, 4_000);
    let (anchor, ours) = alternate(scale.times(), || aead(frames), || link(frames))?;
    let what = "MB sealed and opened in a CPU second, frames of 32 KiB over a stream";
    let anchor = ("ring's ChaCha20-Poly1305, seal and open in place", anchor);
    Ok(vec![Row::new("sealing", Goal::TimesAtLeast(0.5), "MB/s", ours, anchor, what)])
}

fn posts(group: &PublicGroup, count: u64) -> Result<Vec<Message>, Failure> {
    let text = Content::Text("x".repeat(200));
    (0..count)
        .map(|n| {
            let mut seed = [0; 32];
            for (byte, of_n) in seed.iter_mut().zip(n.to_be_bytes()) {
                *byte = of_n;
            }
            let group = group.descriptor();
            let draft = PostDraft {
                group,
                timestamp_ms: 1,
                deps: &[],
                number: 1,
                credential: None,
                expires_ms: None,
            };
            Ok(draft.message(&Author::from_seed(&seed), &text)?)
        })
        .collect()
}

/// Signatures of authors: batches of 64 beside one by one.
pub(crate) fn signatures(scale: Scale) -> Result<Vec<Row>, Failure> {
    let group = PublicGroup::new([1; 16], "plaza", "")?;
    let messages = posts(&group, scale.pick(640, 2_560))?;
    let judge = |size: usize| -> Result<f64, Failure> {
        let (valid, seconds) = cpu(|| {
            let verdicts =
                messages.chunks(size).flat_map(|part| PublicClient.judge(group.descriptor(), part));
            Ok(verdicts.filter(hedgerow_sync_core::Verdict::is_valid).count())
        })?;
        if valid != messages.len() {
            return Err(format!("{valid} of {} posts are valid", messages.len()).into());
        }
        Ok(seconds * 1e6 / size_f64(messages.len()))
    };
    let (anchor, ours) = alternate(scale.times(), || judge(1), || judge(64))?;
    let what = "CPU to judge a post of 200 B, 64 at once, each by another author";
    let anchor = ("the same one by one", anchor);
    Ok(vec![Row::new("signatures", Goal::TimesAtMost(0.6), "us", ours, anchor, what)])
}
