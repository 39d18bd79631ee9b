//! What a decoder takes of memory while it reads is at most a constant times what it reads. One test in this program,
//! since the allocator counts for all threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use bytes::Bytes;
use hedgerow_cli::fuzzing::{rewrite_reply, rewrite_request};
use hedgerow_clients::{
    AuthorState, ChatGroup, Client as _, DirectClient, DirectGroup, GroupInvite, PeerTicket,
};
use hedgerow_proto::bramble::BrambleCodec;
use hedgerow_proto::mvds::MvdsCodec;
use hedgerow_proto::{BundleCodec, Codec as _, GroupDescriptor, Message, MessageId, NativeCodec, PeerId};
use hedgerow_sync_core::SpanSet;
use hedgerow_sync_core::store::MessageNum;
use hedgerow_sync_sqlite::rewrite_deps;
use hedgerow_transports::Address;
use hedgerow_transports::fuzzing::{StreamPair, plain_frames, rewrite_packet};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What is taken whatever the input, in bytes: error texts, and what the test itself says.
const BASE: usize = 16 * 1024;

/// A decoder: the seeds that it reads, how many bytes it may take for each byte of input, and itself.
struct Decoder {
    seeds: &'static str,
    times: usize,
    read: fn(&[u8]),
}

/// A protobuf record of two bytes becomes structs of some 100 and 120 bytes; that is the worst of the wire.
const DECODERS: &[Decoder] = &[
    Decoder { seeds: "frame", times: 192, read: frame },
    Decoder { seeds: "spanset", times: 32, read: |bytes| drop(SpanSet::from_bytes(bytes)) },
    Decoder { seeds: "author", times: 32, read: |bytes| drop(AuthorState::from_bytes(bytes)) },
    Decoder { seeds: "ticket", times: 8, read: ticket },
    Decoder { seeds: "descriptor", times: 8, read: descriptor },
    Decoder { seeds: "body", times: 8, read: body },
    Decoder { seeds: "address", times: 8, read: |bytes| drop(text(bytes).parse::<Address>()) },
    Decoder { seeds: "ids", times: 8, read: |bytes| drop(text(bytes).parse::<MessageId>()) },
    Decoder { seeds: "packet", times: 8, read: |bytes| drop(rewrite_packet(bytes)) },
    Decoder { seeds: "chunks", times: 8, read: chunks },
    Decoder { seeds: "request", times: 32, read: |bytes| drop(rewrite_request(bytes)) },
    Decoder { seeds: "reply", times: 96, read: |bytes| drop(rewrite_reply(bytes)) },
    Decoder { seeds: "bundle", times: 192, read: |bytes| drop(BundleCodec::new().decode(copy(bytes))) },
    Decoder { seeds: "mvds", times: 192, read: |bytes| drop(MvdsCodec::new(true).decode(copy(bytes))) },
    Decoder { seeds: "bsp", times: 16, read: |bytes| drop(BrambleCodec::new(None).decode(copy(bytes))) },
    Decoder { seeds: "plain", times: 8, read: |bytes| drop(plain_frames(false, bytes, 4096)) },
    Decoder { seeds: "plain", times: 8, read: |bytes| drop(plain_frames(true, bytes, 4096)) },
    Decoder { seeds: "row", times: 32, read: |bytes| drop(rewrite_deps(MessageNum(9), bytes)) },
];

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("no text")
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn frame(bytes: &[u8]) {
    let _ = NativeCodec::new().decode(copy(bytes));
}

fn ticket(bytes: &[u8]) {
    let _ = text(bytes).parse::<PeerTicket>();
    let _ = text(bytes).parse::<GroupInvite>();
}

fn descriptor(bytes: &[u8]) {
    for client in ["hedgerow.direct", "hedgerow.group", "hedgerow.public"] {
        let _ = GroupDescriptor::new(client, 1, bytes.to_vec()).map(|group| ChatGroup::parse(&group));
    }
}

fn body(bytes: &[u8]) {
    let peers = [1, 2].map(|n| PeerId::from_bytes([n; 32]));
    let group = DirectGroup::new(peers[0], peers[1]).unwrap();
    let group = group.descriptor();
    if let Ok(message) = Message::new(group.id(), 1, vec![], Bytes::copy_from_slice(bytes)) {
        let _ = DirectClient.read(group, &message);
        let _ = DirectClient.judge(group, &[message]);
    }
}

fn chunks(bytes: &[u8]) {
    let mut pair = StreamPair::new(1 << 20);
    let sealed = pair.seal_frame(bytes).unwrap();
    let mut taken = Vec::new();
    pair.arrive(&sealed, &mut taken).unwrap();
    assert_eq!(taken.len(), 1);
}

/// Inputs that are cheap to send and dear to hold, of some length.
fn costly(len: usize) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut repeat = |head: &[u8], unit: &[u8]| {
        all.push(head.iter().chain(unit.iter().cycle()).copied().take(len).collect());
    };
    // Records without anything in them, of every kind; and with the least that they need.
    for field in 3_u8..=10 {
        repeat(&[], &[field << 3 | 2, 0]);
    }
    repeat(&[], b"\x22\x0a\x12\x08tagtagta");
    // The last byte repeated, and a span list of single numbers; two bytes for a span, one for a dependency.
    // Records of other makers with nothing in them, of types that are known and not; and a list of single ids.
    repeat(&[], &[0, 99, 0, 0]);
    repeat(&[], &[&[0, 0, 0, 32][..], &[7; 32]].concat());
    repeat(&[], &[&[0, 1, 0, 41][..], &[7; 41]].concat());
    repeat(&[], &[&[0, 0, 0, 65][..], &[4; 65]].concat());
    for field in [5001_u32, 5002, 5003, 5004, 5005] {
        let bits = |shift: u32| u8::try_from((field << 3 | 2) >> shift & 0x7f).unwrap();
        let tag = [bits(0) | 0x80, bits(7) | 0x80, bits(14)];
        repeat(&[], &[&tag[..], &[0]].concat());
        repeat(&[], &[&tag[..], &[32], &[7; 32]].concat());
        let group = [&[0x8a, 0xf7, 0x02, 32][..], &[7; 32]].concat();
        repeat(&[], &[&tag[..], &[36], &group].concat());
    }
    for byte in [0, 1, 0x7f, 0x80, 0xff, b' ', b'a', b'[', b'{', b'"', b'\\', b'\n', b':'] {
        repeat(&[], &[byte]);
    }
    repeat(&[1], &[1, 0]);
    repeat(br#"{"v":1,"item":["#, b"0,");
    repeat(br#"{"v":1,"item":["#, b"{},");
    repeat(br#"{"v":1,"item":["#, br#""","#);
    repeat(br#"{"v":1,"request":{"send":{"lines":["#, br#""","#);
    repeat(br#"{"v":1,"request":{"send":{"target":""#, b"\\u0041");
    // A list of messages in one batch, and spans in one list, with their true lengths before them.
    let within = |field: &[u8], inside: Vec<u8>| {
        let mut out = field.to_vec();
        let mut rest = inside.len();
        while rest >= 0x80 {
            out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        out.push(u8::try_from(rest).unwrap());
        out.extend(inside);
        out
    };
    let filled = |unit: &[u8]| -> Vec<u8> { unit.iter().cycle().copied().take(len / 2 * 2).collect() };
    all.push(within(&[6 << 3 | 2], filled(&[4 << 3 | 2, 0])));
    all.push(within(&[6 << 3 | 2], within(&[4 << 3 | 2], within(&[3 << 3 | 2], filled(&[1])))));
    all.push(within(&[2 << 3 | 2], filled(&[0])));
    all.push(within(&[5 << 3 | 2], within(&[2 << 3 | 2], filled(&[0]))));
    all.push(within(&[5 << 3 | 2], within(&[4 << 3 | 2], vec![7; len / 32 * 32])));
    for list in [
        br#"{"v":1,"item":["#.to_vec(),
        br#"{"v":1,"request":{"send":{"target":"","session":"","first_line":1,"lines":["#.to_vec(),
    ] {
        let request = list.len() > 20;
        let mut json = list;
        while json.len() < len {
            json.extend_from_slice(if request { br#""","# } else { b"0," });
        }
        json.extend_from_slice(if request { br#"""]}}}"# } else { b"0]}" });
        all.push(json);
    }
    let mut map = br#"{"v":1,"item":{"#.to_vec();
    for n in 0.. {
        map.extend_from_slice(format!("\"{n:x}\":0").as_bytes());
        if map.len() >= len {
            break;
        }
        map.push(b',');
    }
    map.extend_from_slice(b"}}");
    all.push(map);
    all
}

fn peak(read: fn(&[u8]), input: &[u8]) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    read(input);
    ALLOCATOR.peak_usage().saturating_sub(before)
}

#[test]
fn decoding_takes_memory_in_proportion_to_the_input() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let inputs: Vec<Vec<u8>> = [300, 3_000, 32_768, 65_536].into_iter().flat_map(costly).collect();
    for Decoder { seeds, times, read } in DECODERS {
        let files = fs::read_dir(folder.join(seeds)).unwrap();
        let seeds_of: Vec<Vec<u8>> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
        let mut worst = (0, 0, Vec::new());
        for input in seeds_of.iter().chain(&inputs) {
            // Once to have made what is made once.
            read(&input[..input.len().min(8)]);
            let peak = peak(*read, input);
            assert!(
                peak <= times * input.len() + BASE,
                "{seeds}: {peak} bytes for {} bytes that begin with {:?}",
                input.len(),
                &input[..input.len().min(32)],
            );
            let ratio = peak.saturating_sub(BASE) * 10 / input.len().max(1);
            if ratio > worst.0 {
                worst = (ratio, input.len(), input[..input.len().min(20)].to_vec());
            }
        }
        println!("{seeds}: at most {}.{} times the input, by {worst:?}", worst.0 / 10, worst.0 % 10);
    }
}
