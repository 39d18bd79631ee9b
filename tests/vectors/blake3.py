"""BLAKE3 in derive_key mode, for input and output of any length. Slow, short, and nothing but arithmetic."""

import struct

M32 = 0xFFFFFFFF
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS_THEN_DIAGONALS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                          (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT, DERIVE_CONTEXT, DERIVE_MATERIAL = 1, 2, 4, 8, 32, 64
BLOCK, CHUNK = 64, 1024


def rotate(x, n):
    return (x >> n | x << (32 - n)) & M32


def compress(node, counter=None, more_flags=0):
    """The 16 output words of a node (chaining value, block words, counter, block length, flags)."""
    cv, m, own_counter, length, flags = node
    t = own_counter if counter is None else counter
    v = list(cv) + list(IV[:4]) + [t & M32, t >> 32, length, flags | more_flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(COLUMNS_THEN_DIAGONALS):
            for word, r1, r2 in ((m[2 * i], 16, 12), (m[2 * i + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & M32
                v[d] = rotate(v[d] ^ v[a], r1)
                v[c] = (v[c] + v[d]) & M32
                v[b] = rotate(v[b] ^ v[c], r2)
        m = [m[i] for i in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ cv[i] for i in range(8)]


def chunk_node(data, index, key, flags):
    cv = key
    starts = range(0, max(len(data), 1), BLOCK)
    for at in starts:
        block = data[at:at + BLOCK]
        here = flags | (CHUNK_START if at == 0 else 0) | (CHUNK_END if at == starts[-1] else 0)
        node = (cv, struct.unpack("<16I", block.ljust(BLOCK, b"\0")), index, len(block), here)
        cv = compress(node)[:8]
    return node


def tree_node(data, index, key, flags):
    if len(data) <= CHUNK:
        return chunk_node(data, index, key, flags)
    # The left side is the largest power of two of chunks that leaves something for the right.
    left = 1 << ((len(data) - 1) // CHUNK).bit_length() - 1
    words = compress(tree_node(data[:left * CHUNK], index, key, flags))[:8]
    words += compress(tree_node(data[left * CHUNK:], index + left, key, flags))[:8]
    return key, words, 0, BLOCK, flags | PARENT


def root_bytes(node, length):
    blocks = range((length + BLOCK - 1) // BLOCK)
    return b"".join(struct.pack("<16I", *compress(node, i, ROOT)) for i in blocks)[:length]


def derive_key(context, material, length=32):
    key = struct.unpack("<8I", root_bytes(tree_node(context.encode(), 0, IV, DERIVE_CONTEXT), 32))
    return root_bytes(tree_node(material, 0, key, DERIVE_MATERIAL), length)


def check():
    """Compares with the first of BLAKE3's own test vectors, which has two output blocks and a bit."""
    want = ("2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d905630c8be290dfcf3e6842f13bddd57"
            "3c098c3f17361f1f206b8cad9d088aa4a3f746752c6b0ce6a83b0da81d59649257cdf8eb3e9f7d4998e41021fac119de"
            "efb896224ac99f860011f73609e6e0e4540f93b273e56547dfd3aa1a035ba6689d89a0")
    if derive_key("BLAKE3 2019-12-27 16:29:52 test vectors context", b"", 131).hex() != want:
        raise SystemExit("blake3.py does not compute BLAKE3")
