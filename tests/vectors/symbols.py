"""Samples and symbols of sets (docs/protocol.md, section 11), from the specification and not from the Rust code."""

import math
import struct

from blake3 import derive_key

M64 = 0xFFFFFFFFFFFFFFFF


def sip_1_3(k0, k1, data):
    """SipHash-1-3 of data, as an integer."""
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def left(x, bits):
        return (x << bits | x >> 64 - bits) & M64

    def rounds(count):
        for _ in range(count):
            v[0] = v[0] + v[1] & M64
            v[1] = left(v[1], 13) ^ v[0]
            v[0] = left(v[0], 32)
            v[2] = v[2] + v[3] & M64
            v[3] = left(v[3], 16) ^ v[2]
            v[0] = v[0] + v[3] & M64
            v[3] = left(v[3], 21) ^ v[0]
            v[2] = v[2] + v[1] & M64
            v[1] = left(v[1], 17) ^ v[2]
            v[2] = left(v[2], 32)

    whole = len(data) // 8 * 8
    words = [int.from_bytes(data[i:i + 8], "little") for i in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        rounds(1)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(3)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def sample(group, messages):
    k0, k1 = struct.unpack(">QQ", group[:16])
    bits = 0
    for message in messages:
        h = sip_1_3(k0, k1, message)
        for level in range(4):
            if h % 4 ** level == 0:
                bits ^= 1 << 32 * level + (h >> 16 + 5 * level) % 32
    return bits


def sample_mask(nonce, group):
    return int.from_bytes(derive_key("hedgerow 2026-11 group tag", nonce + group, 24)[8:], "big")


def places(mix, end):
    """The places below `end` that an id goes to."""
    state, place = mix | 1, 0
    while place < end:
        yield place
        state = state * 0xDA942042E4DD58B5 & M64
        # Python's floats are those of IEEE 754, of 64 bits.
        gap = math.ceil((float(place) + 1.5) * (4294967296.0 / math.sqrt(float(state) + 1.0) - 1.0))
        place += max(gap, 1)


def symbols_of(sayer, solver, group, salt, width, messages, count):
    secret = derive_key("hedgerow 2026-11 reconcile", sayer + solver + group + struct.pack(">I", salt))
    s0, s1, p0, p1 = struct.unpack(">QQQQ", secret)
    symbols = [[0, 0, 0] for _ in range(count)]
    for message in messages:
        short = sip_1_3(s0, s1, message) >> 64 - 8 * width
        mix = sip_1_3(p0, p1, struct.pack(">Q", short))
        for place in places(mix, count):
            symbols[place][0] ^= short
            symbols[place][1] ^= mix & 0xFFFF
            symbols[place][2] += 1
    return b"".join(s.to_bytes(width, "big") + struct.pack(">HB", check, n % 256) for s, check, n in symbols)
