"""Ids, tags and frames of the native wire as bytes, from the specification and not from the Rust code."""

import struct

from blake3 import derive_key

M64 = 0xFFFFFFFFFFFFFFFF

# ---- Names -------------------------------------------------------------------------------------------------


def group_id(client_id, major_version, descriptor):
    name = client_id.encode()
    layout = struct.pack(">H", len(name)) + name + struct.pack(">I", major_version) + descriptor
    return derive_key("hedgerow 2026-11 group id", layout)


def message_id(group, timestamp_ms, deps, body):
    layout = group + struct.pack(">qH", timestamp_ms, len(deps)) + b"".join(deps) + body
    return derive_key("hedgerow 2026-11 message id", layout)


def group_tag(nonce, group):
    return derive_key("hedgerow 2026-11 group tag", nonce + group, 8)


def step_value(nonce, group, mark, mark_chain):
    return derive_key("hedgerow 2026-11 in step", nonce + group + struct.pack(">QQ", mark, mark_chain), 7)


# ---- Protobuf: fields that are 0 or empty are left out -----------------------------------------------------


def varint(n):
    n &= M64
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def key(field, wire_type):
    return varint(field << 3 | wire_type)


def record(field, data):
    """A length-delimited field that is written even if it is empty: messages."""
    return key(field, 2) + varint(len(data)) + data


def blob(field, data):
    return record(field, data) if data else b""


def packed(field, numbers):
    return blob(field, b"".join(varint(n) for n in numbers))


def uint(field, n):
    return key(field, 0) + varint(int(n)) if int(n) else b""


def sint(field, n):
    return uint(field, n << 1 ^ n >> 63)


def fixed(field, n):
    return key(field, 1) + struct.pack("<Q", int(n)) if int(n) else b""


# ---- Frames: from the descriptions in native.json to bytes -------------------------------------------------


def span_list(spans):
    numbers, after = [], 0
    for first, last in ((int(first), int(last)) for first, last in spans):
        numbers += [first - after - 1, last - first]
        after = last
    return numbers


def places(field, spans, one):
    """A span list, or the only position in it in a field of its own."""
    if len(spans) == 1 and int(spans[0][0]) == int(spans[0][1]):
        return b"", uint(one, spans[0][0])
    return packed(field, span_list(spans)), b""


def group(number):
    """The group 1 is not named."""
    assert number > 0
    return uint(1, number) if number > 1 else b""


def ids(texts):
    return bytes.fromhex("".join(texts))


def encode_hello(h):
    return (uint(1, h["major"]) + uint(2, h["minor"]) + blob(3, ids([h["nonce"]])) + fixed(4, h["install"])
            + uint(5, h["max_frame"]) + uint(6, h["max_offers"]))


def encode_announce(a):
    visibility = ("invisible", "visible", "shared").index(a["visibility"])
    return (uint(1, a["number"]) + blob(2, ids([a["tag"]])) + uint(3, visibility)
            + packed(4, span_list(a["held"])) + uint(5, a["mark"]) + fixed(6, a["mark_chain"])
            + uint(7, a["reset"]) + encode_summary(a.get("summary")))


def encode_summary(s):
    return uint(8, s["count"]) + blob(9, ids([s["sample"]])) if s else b""


def encode_in_step(s):
    return uint(1, s["first"]) + blob(2, ids(s["values"]))


def encode_ack(a):
    (held, held_at), (known, known_at) = places(2, a["held"], 8), places(3, a["known"], 9)
    return (group(a["group"]) + held + known + blob(4, ids(a["ids"])) + uint(5, a["duplicates"])
            + fixed(6, a["chain"]) + uint(7, a["reset"]) + held_at + known_at)


def encode_batch(b):
    messages = b["messages"]
    first = int(messages[0]["position"] or 0) if messages else 0
    begin = int(messages[0]["timestamp_ms"]) if messages else 0
    out = group(b["group"]) + uint(2, first) + uint(3, begin)
    expected, before, written = first, begin, []
    for m in messages:
        position, time = int(m["position"] or 0), int(m["timestamp_ms"])
        back = [position - int(d["position"]) for d in m["deps"] if "position" in d]
        full = [d["id"] for d in m["deps"] if "id" in d]
        gap = position - expected if first else 0
        written.append((uint(1, gap) + sint(2, time - before), back, ids(full), ids([m["body"]])))
        expected, before = position + 1, time
    if len(written) == 1 and written[0][3]:
        # One message with a body: its parts stand in the batch itself.
        _, back, full, body = written[0]
        return out + fixed(5, b["chain"]) + packed(6, back) + blob(7, full) + blob(8, body)
    for place, back, full, body in written:
        out += record(4, place + packed(3, back) + blob(4, full) + blob(5, body))
    return out + fixed(5, b["chain"])


def encode_offer(o):
    positions, at = places(2, runs_of(o), 5)
    return group(o["group"]) + positions + blob(3, ids(item["id"] for item in o["items"])) + fixed(4, o["chain"]) + at


def runs_of(o):
    runs = []
    for position in (int(item["position"]) for item in o["items"]):
        if runs and position == runs[-1][1] + 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    return runs


def encode_short_offer(o):
    (positions, at), shorts = places(2, runs_of(o), 5), [item["short"] for item in o["items"]]
    listed, short = blob(3, ids(shorts)), b""
    if len(shorts) == 1 and int(shorts[0], 16):
        listed, short = b"", fixed(6, int(shorts[0], 16))
    return group(o["group"]) + positions + listed + fixed(4, o["chain"]) + at + short


def encode_ask(r):
    positions, at = places(2, r["positions"], 4)
    return group(r["group"]) + positions + blob(3, ids(r["ids"])) + at


def encode_unavailable(u):
    return group(u["group"]) + packed(2, span_list(u["positions"])) + blob(3, ids(u["ids"])) + b"".join(
        record(4, blob(1, ids([t["id"]])) + uint(2, t["eff_ms"]) + uint(3, t["height"])) for t in u["tombstones"])


def encode_ephemeral(e):
    return group(e["group"]) + uint(2, e["timestamp_ms"]) + blob(3, ids([e["body"]]))


def encode_reconcile(r):
    out = group(r["group"]) + uint(2, r["salt"])
    if "ask" in r:
        out += key(3, 0) + b"\1"
    if "symbols" in r:
        s = r["symbols"]
        out += record(4, uint(1, s["first"]) + uint(2, s["count"]) + uint(3, s["width"]) + uint(4, s["rest"])
                      + blob(5, ids([s["symbols"]])))
    if "more" in r:
        out += key(5, 0) + varint(r["more"])
    if "lacks" in r:
        out += record(6, blob(1, ids([r["lacks"]["ids"]])) + uint(2, r["lacks"]["cut"]) + uint(3, r["lacks"]["more"]))
    if "stop" in r:
        out += key(7, 0) + b"\1"
    if "known" in r:
        out += record(8, packed(1, span_list(r["known"]["positions"])) + fixed(2, r["known"]["chain"]))
    return out


RECORDS = ((4, "announces", encode_announce), (5, "acks", encode_ack), (6, "batches", encode_batch),
           (7, "offers", encode_offer), (8, "requests", encode_ask), (9, "unavailables", encode_unavailable),
           (10, "ephemerals", encode_ephemeral))


def encode_frame(f):
    out = uint(1, f.get("number", 0)) + packed(2, span_list(f.get("frame_acks", ())))
    if "hello" in f:
        out += record(3, encode_hello(f["hello"]))
    for field, name, encode in RECORDS:
        out += b"".join(record(field, encode(r)) for r in f.get(name, ()))
    out += uint(11, f.get("ping", False)) + uint(12, f.get("ack_delay_ms", 0))
    out += b"".join(record(13, encode_reconcile(r)) for r in f.get("reconciles", ()))
    if "in_step" in f:
        out += record(14, encode_in_step(f["in_step"]))
    out += packed(15, span_list(f.get("matched", ()))) + packed(16, span_list(f.get("unmatched", ())))
    return out + b"".join(record(17, encode_short_offer(o)) for o in f.get("short_offers", ()))
