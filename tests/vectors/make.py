#!/usr/bin/env python3
"""Makes native.json: golden vectors of the native wire, from its specification, not from the Rust code.

    python3 make.py > native.json     writes the vectors
    python3 make.py --check           exit 1 if native.json is not what this script writes

Needs Python 3.8 and its standard library only. BLAKE3 (blake3.py) and protobuf (wire.py) are written out here
on purpose: a second opinion that shares nothing with the first.
"""

import json
import pathlib
import sys

sys.dont_write_bytecode = True

import blake3
from symbols import sample, sample_mask, sip_1_3, symbols_of
from wire import (M64, blob, encode_frame, fixed, group_id, group_tag, ids, key, message_id, packed, record, sint,
                  step_value, uint)

# ---- Descriptions. Integers of 64 bits are decimal strings: not every JSON reader keeps them whole ---------

I64_MAX, U32_MAX, NOW = (1 << 63) - 1, (1 << 32) - 1, 1_700_000_000_000


def name32(n):
    """A name of 32 bytes that reads otherwise backwards; a larger n (below 224) is a larger name."""
    return bytes(range(n, n + 32)).hex()


def spans(*pairs):
    return [[str(first), str(last)] for first, last in pairs]


def hello(major=1, minor=0, nonce=bytes(range(16)), install=1, max_frame=65536, max_offers=512):
    return {"major": major, "minor": minor, "nonce": nonce.hex(), "install": str(install),
            "max_frame": max_frame, "max_offers": max_offers}


def announce(number=1, tag="a0a1a2a3a4a5a6a7", visibility="shared", held=(), mark=0, mark_chain=0, reset=0,
             count=0, sample=""):
    said = {"number": number, "tag": tag, "visibility": visibility, "held": spans(*held), "mark": str(mark),
            "mark_chain": str(mark_chain), "reset": reset}
    return {**said, "summary": {"count": str(count), "sample": sample}} if count else said


def in_step(first, count):
    return {"first": first, "values": [bytes(range(n, n + 7)).hex() for n in range(count)]}


def ack(group=1, held=(), known=(), ids=(), duplicates=0, chain=0, reset=0):
    return {"group": group, "held": spans(*held), "known": spans(*known), "ids": list(ids),
            "duplicates": duplicates, "chain": str(chain), "reset": reset}


def message(position=None, time=NOW, back=(), deps=(), body=b""):
    refs = [{"position": str(p)} for p in back] + [{"id": d} for d in deps]
    return {"position": None if position is None else str(position), "timestamp_ms": str(time), "deps": refs,
            "body": body.hex()}


def batch(*messages, group=1, chain=0):
    return {"group": group, "messages": list(messages), "chain": str(chain)}


def offer(*positions, group=1, chain=0):
    items = [{"position": str(p), "id": name32(200 - i)} for i, p in enumerate(positions)]
    return {"group": group, "items": items, "chain": str(chain)}


def short_offer(*positions, group=1, chain=0, last=M64):
    items = [{"position": str(p), "short": "%016x" % (last - i)} for i, p in enumerate(positions)]
    return {"group": group, "items": items, "chain": str(chain)}


def ask(group=1, positions=(), ids=()):
    return {"group": group, "positions": spans(*positions), "ids": list(ids)}


def unavailable(group=1, positions=(), ids=(), tombstones=()):
    claims = [{"id": i, "eff_ms": str(eff_ms), "height": str(height)} for i, eff_ms, height in tombstones]
    return {"group": group, "positions": spans(*positions), "ids": list(ids), "tombstones": claims}


def reconcile(group=1, salt=0, **step):
    return {"group": group, "salt": salt, **step}


def ephemeral(group=1, time=NOW, body=b"..."):
    return {"group": group, "timestamp_ms": str(time), "body": body.hex()}


# ---- The vectors -------------------------------------------------------------------------------------------


def repeat(byte, count):
    return {"repeat": "%02x" % byte, "count": count}


def expand(recipe):
    if isinstance(recipe, str):
        return bytes.fromhex(recipe)
    return bytes.fromhex(recipe["repeat"]) * recipe["count"]


def group_ids():
    for name, client, major, descriptor in (
        ("the shortest client id, version 0, no descriptor", "x", 0, ""),
        ("the longest client id, 100 bytes", "c" * 100, 1, "00ff"),
        ("a client id counts in bytes of UTF-8, not in characters", "h\u00e9risson.\u68ee.\U0001f994", 1, "01"),
        ("100 bytes in 50 characters", "\u00e9" * 50, 1, ""),
        ("a common group", "org.example.chat", 0, b"friends".hex()),
        ("the length keeps client id and descriptor apart", "org.example.cha", 0, b"tfriends".hex()),
        ("the largest major version", "org.example.chat", U32_MAX, b"friends".hex()),
        ("the longest descriptor, 16 KiB", "org.example.chat", 2, repeat(0xA5, 16 * 1024)),
    ):
        made = group_id(client, major, expand(descriptor)).hex()
        yield {"name": name, "client_id": client, "major_version": major, "descriptor": descriptor, "id": made}


def message_ids():
    group, deps = name32(100), [name32(n) for n in range(64)]
    rows = [
        ("no dependency, no body, timestamp 0", 0, [], ""),
        ("the largest timestamp", I64_MAX, [], b"hello".hex()),
        ("a common message", NOW, [], b"hello".hex()),
        ("one dependency", NOW, deps[:1], b"hello".hex()),
        ("what was a dependency, as a body", NOW, [], deps[0]),
        ("64 dependencies", NOW, deps, b"hello".hex()),
        ("the longest body, 32,768 bytes", NOW, [], repeat(0x61, 32768)),
        ("64 dependencies and the longest body", NOW, deps, repeat(0x61, 32768)),
    ]
    # 42 bytes come before the body: these fall on the edges of BLAKE3's blocks, chunks and tree.
    for total in (64, 65, 1023, 1024, 1025, 2048, 2049, 3072, 3073, 4097, 7169):
        rows.append(("%d bytes under the hash" % total, 7, [], repeat(0x5A, total - 42)))
    for name, time, deps, body in rows:
        made = message_id(ids([group]), time, [ids([d]) for d in deps], expand(body)).hex()
        yield {"name": name, "group": group, "timestamp_ms": str(time), "deps": deps, "body": body, "id": made}


def group_tags():
    chat = group_id("org.example.chat", 0, b"friends").hex()
    for name, nonce, group in (
        ("zero nonce, zero group", "00" * 16, "00" * 32),
        ("a common tag", bytes(range(16)).hex(), chat),
        ("another nonce, the same group", bytes(range(1, 17)).hex(), chat),
        ("the same nonce, another group", bytes(range(16)).hex(), name32(3)),
    ):
        yield {"name": name, "nonce": nonce, "group": group, "tag": group_tag(ids([nonce]), ids([group])).hex()}


def step_values():
    chat = group_id("org.example.chat", 0, b"friends").hex()
    for name, nonce, group, mark, mark_chain in (
        ("nothing is held, zero nonce, zero group", "00" * 16, "00" * 32, 0, 0),
        ("a common value", bytes(range(16)).hex(), chat, 300, 0x0123456789ABCDEF),
        ("another mark", bytes(range(16)).hex(), chat, 301, 0x0123456789ABCDEF),
        ("the largest numbers", "ff" * 16, chat, M64, M64),
    ):
        value = step_value(ids([nonce]), ids([group]), mark, mark_chain).hex()
        yield {"name": name, "nonce": nonce, "group": group, "mark": str(mark), "mark_chain": str(mark_chain), "value": value}


def samples():
    group = group_id("org.example.chat", 0, b"friends").hex()
    for count in (0, 1, 100):
        made = [bytes([n, n + 1]) + bytes(30) for n in range(count)]
        of_set = sample(ids([group]), made)
        mask = sample_mask(bytes(range(16)), ids([group]))
        yield {"name": "%d messages" % count, "nonce": bytes(range(16)).hex(), "group": group,
               "ids": [m.hex() for m in made], "sample": "%032x" % of_set, "said": "%032x" % (of_set ^ mask)}


def short_ids():
    group = group_id("org.example.chat", 0, b"friends").hex()
    for name, install, of, message in (
        ("install 1, zero group, zero id", 1, "00" * 32, "00" * 32),
        ("a common install", 0x0123456789ABCDEF, group, bytes(range(32)).hex()),
        ("the largest install", M64, group, "ff" * 32),
    ):
        short = sip_1_3(install, int.from_bytes(ids([of])[:8], "big"), ids([message]))
        yield {"name": name, "install": str(install), "group": of, "id": message, "short": "%016x" % short}


def reconciliations():
    group = group_id("org.example.chat", 0, b"friends").hex()
    for name, salt, width, count, symbols in (
        ("one message", 0, 8, 1, 12),
        ("no message", 0, 5, 0, 2),
        ("three messages, short ids of 5 bytes", 0, 5, 3, 20),
        ("300 messages: counts wrap around at 256", 0, 6, 300, 40),
        ("300 messages under another salt", 2, 7, 300, 10),
    ):
        made = [bytes([n % 251, n // 251]) + bytes(30) for n in range(count)]
        sayer, solver = bytes(range(16)), bytes(range(16, 32))
        yield {"name": name, "sayer": sayer.hex(), "solver": solver.hex(), "group": group, "salt": salt, "width": width,
               "ids": [m.hex() for m in made], "count": symbols,
               "symbols": symbols_of(sayer, solver, ids([group]), salt, width, made, symbols).hex()}


EVERYTHING = {
    "number": str(300), "frame_acks": spans((1, 2), (4, 9)), "ack_delay_ms": 300, "ping": True, "hello": hello(install=M64 - 1),
    "announces": [announce(held=[(1, 10)], mark=10, mark_chain=1 << 60), announce(2, visibility="visible")],
    "acks": [ack(held=[(1, 3)], known=[(2, 2)], ids=[name32(9)], duplicates=1), ack(2, ids=[name32(8)])],
    "batches": [batch(message(5, body=b"one"), message(6, NOW + 5, back=[5], body=b"two"), chain=77),
                batch(message(body=b"asked for"), group=2)],
    "offers": [offer(8, 9, 12), offer(1, group=2)],
    "requests": [ask(positions=[(4, 4)]), ask(2, ids=[name32(1)])],
    "unavailables": [unavailable(positions=[(7, 8)], ids=[name32(2)], tombstones=[(name32(2), NOW, 3)]), unavailable(2)],
    "ephemerals": [ephemeral(), ephemeral(2, body=b"typing")],
    "reconciles": [reconcile(ask=True), reconcile(2, more=9)],
    "short_offers": [short_offer(13, 15), short_offer(2, group=2)],
    "in_step": in_step(3, 2), "matched": spans((1, 4), (6, 6)), "unmatched": spans((5, 5)),
}


def frames():
    for name, frame in (
        ("the empty frame is no bytes", {}),
        ("hello", {"hello": hello()}),
        ("hello with the largest values", {"hello": hello(1, U32_MAX, b"\xff" * 16, M64, U32_MAX, U32_MAX)}),
        ("a zero nonce and a zero install are a hello all the same", {"hello": hello(nonce=bytes(16), install=0)}),
        ("announce: shared, nothing held", {"announces": [announce()]}),
        ("announce: visible, with a mark",
         {"announces": [announce(2, visibility="visible", held=[(1, 99)], mark=99, mark_chain=M64)]}),
        ("announce: no longer shared, visibility 0 is left out", {"announces": [announce(3, visibility="invisible")]}),
        ("announce: reset, group number 0", {"announces": [announce(0, reset=7)]}),
        ("announce: the largest group number", {"announces": [announce(U32_MAX, mark=M64)]}),
        ("announce: a count and a sample", {"announces": [announce(7, count=300, sample="00" * 15 + "80")]}),
        ("in step: one group", {"in_step": in_step(1, 1)}),
        ("in step: the last numbers of 32 bits", {"in_step": in_step(U32_MAX - 1, 2)}),
        ("in step: all were matched", {"matched": spans((1, 100))}),
        ("in step: some were not matched", {"matched": spans((1, 1), (3, 3)), "unmatched": spans((2, 2), (4, 5))}),
        ("reconcile: begin", {"reconciles": [reconcile(ask=True)]}),
        ("reconcile: the first symbols, of two messages",
         {"reconciles": [reconcile(symbols={"first": 0, "count": "2", "width": 5, "rest": 0, "symbols": "0a0b0c0d0e010202" * 3})]}),
        ("reconcile: later symbols, with the largest numbers",
         {"reconciles": [reconcile(U32_MAX, U32_MAX, symbols={"first": U32_MAX, "count": str(M64), "width": 8, "rest": U32_MAX,
                                                              "symbols": "ff" * 11})]}),
        ("reconcile: no symbols", {"reconciles": [reconcile(symbols={"first": 4, "count": "0", "width": 6, "rest": 0, "symbols": ""})]}),
        ("reconcile: more of it", {"reconciles": [reconcile(more=300)]}),
        ("reconcile: 0 more is said", {"reconciles": [reconcile(more=0)]}),
        ("reconcile: under another key", {"reconciles": [reconcile(salt=1, more=20)]}),
        ("reconcile: what is lacked", {"reconciles": [reconcile(lacks={"cut": 3, "ids": "010203fffefd", "more": True})]}),
        ("reconcile: nothing is lacked", {"reconciles": [reconcile(lacks={"cut": 1, "ids": "", "more": False})]}),
        ("reconcile: what is known", {"reconciles": [reconcile(known={"positions": spans((1, 9), (11, 11)), "chain": str(M64)})]}),
        ("reconcile: no further", {"reconciles": [reconcile(stop=True)]}),
        ("ack by one position", {"acks": [ack(held=[(1, 1)])]}),
        ("ack by two positions: the first span is (0, 0) and is written", {"acks": [ack(held=[(1, 1), (3, 3)])]}),
        ("ack: one position held, one known, and a chain value", {"acks": [ack(2, held=[(300, 300)], known=[(M64, M64)], chain=5)]}),
        ("ack: held and known, duplicates", {"acks": [ack(held=[(1, 1000)], known=[(3, 3), (5, 8)], duplicates=4, chain=0x1122334455667788)]}),
        ("ack by ids, in the order given", {"acks": [ack(ids=[name32(5), name32(4)])]}),
        ("spans that touch stay two spans", {"acks": [ack(held=[(1, 2), (3, 4)])]}),
        ("span list with large gaps",
         {"acks": [ack(held=[(1 << 20, 1 << 21), (1 << 40, 1 << 40), ((1 << 63) + 1, (1 << 63) + 129)])]}),
        ("span list up to the last position", {"requests": [ask(positions=[(1, 1), (M64, M64)])]}),
        ("one span of all positions", {"requests": [ask(positions=[(1, M64)])]}),
        ("one message without a body: an empty record", {"batches": [batch(message(1))]}),
        ("one message with a body: its parts stand in the batch",
         {"batches": [batch(message(300, back=[299], deps=[name32(6)], body=b"b"), group=2, chain=7)]}),
        ("one message with a body, without a position", {"batches": [batch(message(body=b"b"))]}),
        ("a run of positions: no gaps, chain",
         {"batches": [batch(*(message(p, body=b"m%d" % p) for p in (7, 8, 9)), chain=0x0123456789ABCDEF)]}),
        ("positions with gaps", {"batches": [batch(*(message(p, body=b"g") for p in (3, 5, 6, 200)))]}),
        ("timestamps that go back and forth",
         {"batches": [batch(*(message(i + 1, t) for i, t in enumerate((NOW, NOW - 1, NOW + 63, NOW - 1000, NOW))))]}),
        ("timestamp deltas of both ends",
         {"batches": [batch(message(1, 0), message(2, I64_MAX), message(3, 0), message(4, I64_MAX))]}),
        ("a codec hands on negative timestamps", {"batches": [batch(message(1, -1), message(2, -(1 << 63)))]}),
        ("back-references before ids, the order within each kept",
         {"batches": [batch(message(9, deps=[name32(1)]), message(10, back=[9], body=b"a"),
                            message(300, back=[1, 10, 9], deps=[name32(6), name32(5)], body=b"b"))]}),
        ("batch without positions: gaps, first and chain are 0",
         {"batches": [batch(message(time=5, body=b"a"), message(time=3, deps=[name32(2)], body=b"b"))]}),
        ("the last position that a message can have", {"batches": [batch(message(M64 - 1, body=b"end"))]}),
        ("a batch without messages", {"batches": [batch(group=4, chain=9)]}),
        ("a body whose length takes two bytes", {"batches": [batch(message(1, body=bytes(range(256))))]}),
        ("two batches, of two groups", {"batches": [batch(message(1), group=1), batch(message(1), group=2)]}),
        ("offer: positions next to each other become one span", {"offers": [offer(1, 2, 3, 7, 9, 10, chain=5)]}),
        ("offer of one", {"offers": [offer(300)]}),
        ("offer of one by a short id", {"short_offers": [short_offer(300, group=2, chain=6, last=0x0102030405060708)]}),
        ("a short id of 0 stands in a list", {"short_offers": [short_offer(3, last=0)]}),
        ("request of one position", {"requests": [ask(positions=[(M64, M64)])]}),
        ("offer of nothing", {"offers": [offer(group=5)]}),
        ("offer by short ids: positions next to each other become one span",
         {"short_offers": [short_offer(1, 2, 3, 7, 9, 10, chain=5)]}),
        ("offer of nothing by short ids", {"short_offers": [short_offer(group=5)]}),
        ("ack: of the log that began anew", {"acks": [ack(held=[(1, 3)], reset=U32_MAX)]}),
        ("request: positions and ids", {"requests": [ask(positions=[(2, 4), (9, 9)], ids=[name32(1), name32(0)])]}),
        ("unavailable: positions and ids", {"unavailables": [unavailable(positions=[(2, 2)], ids=[name32(1)])]}),
        ("unavailable: what was delivered and is no longer held",
         {"unavailables": [unavailable(ids=[name32(1), name32(0)], tombstones=[(name32(1), NOW, 7), (name32(0), 0, M64)])]}),
        ("unavailable: a codec hands on what cannot be", {"unavailables": [unavailable(tombstones=[(name32(4), -1, 0)])]}),
        ("ephemeral", {"ephemerals": [ephemeral(body=b"typing")]}),
        ("ephemeral: a negative timestamp takes ten bytes", {"ephemerals": [ephemeral(time=-1, body=b"")]}),
        ("an empty record of group 1 is still a record", {"acks": [ack(1)]}),
        ("lossy link: number, frame acks and ping",
         {"number": str(128), "frame_acks": spans((1, 100), (102, 102), (110, 127)), "ack_delay_ms": 7, "ping": True}),
        ("lossy link: the largest frame number", {"number": str(M64)}),
        ("ping alone", {"ping": True}),
        ("everything at once", EVERYTHING),
    ):
        yield {"name": name, "frame": frame, "hex": encode_frame(frame).hex()}


def lenient_frames():
    ping = {"ping": True}
    foreign = hello(2, nonce=bytes(16), install=0, max_frame=0, max_offers=0)
    for name, frame, data in (
        ("unknown fields are skipped", ping, uint(11, 1) + record(2000, b"new") + uint(2001, 5) + fixed(2002, 6)),
        ("unknown fields in a record are skipped", {"acks": [ack(3)]}, record(5, uint(1, 3) + record(99, b"new"))),
        ("fields in any order", {"number": "1", "ping": True}, uint(11, 1) + uint(1, 1)),
        ("defaults written out", ping, key(1, 0) + b"\0" + record(2, b"") + uint(11, 1)),
        ("a list not packed", {"frame_acks": spans((3, 4))}, uint(2, 2) + uint(2, 1)),
        ("a list in two pieces", {"frame_acks": spans((3, 4))}, packed(2, [2]) + packed(2, [1])),
        ("the group 1 by its number, lists of one position",
         {"acks": [ack(held=[(3, 3)], known=[(4, 4)], chain=9)], "requests": [ask(positions=[(5, 5)])], "offers": [offer(6)],
          "short_offers": [short_offer(7, chain=8)]},
         record(5, uint(1, 1) + packed(2, [2, 0]) + packed(3, [3, 0]) + fixed(6, 9)) + record(8, uint(1, 1) + packed(2, [4, 0]))
         + record(7, uint(1, 1) + packed(2, [5, 0]) + blob(3, ids([name32(200)])))
         + record(17, uint(1, 1) + packed(2, [6, 0]) + blob(3, b"\xff" * 8) + fixed(4, 8))),
        ("one message with a body among the messages of a batch", {"batches": [batch(message(5, back=[4], body=b"b"))]},
         record(6, uint(1, 1) + uint(2, 5) + uint(3, NOW) + record(4, packed(3, [1]) + blob(5, b"b")))),
        ("a number longer than it need be", {"number": "1"}, key(1, 0) + b"\x81\x80\x00"),
        ("a step of reconciliation that is unknown is skipped", {}, record(13, uint(1, 1) + record(99, b"new"))),
        ("a foreign major version may have any nonce", {"hello": foreign}, record(3, uint(1, 2) + blob(3, b"odd"))),
    ):
        yield {"name": name, "frame": frame, "hex": data.hex()}


def bad_frames():
    pairs, whole = "a span list has pairs within 64 bits", "ids have 32 bytes each"
    earlier, wide = "a back-reference names an earlier position", "positions have 64 bits"
    lone = "messages, or one with a body in their place"
    either = "a span list, or one position in its place"
    count, odd, id31, tag8 = "as many positions as ids", [0, 0, 5], b"\1" * 31, bytes(8)

    def in_batch(data, first=5):
        return record(6, uint(1, 1) + uint(2, first) + data)

    rows = [("FRAME", pairs, "an odd span list", packed(2, odd)),
            ("HELLO", "the nonce has 16 bytes", "a nonce of 15 bytes", record(3, uint(1, 1) + blob(3, b"n" * 15))),
            ("HELLO", "the nonce has 16 bytes", "a nonce of 17 bytes", record(3, uint(1, 1) + blob(3, b"n" * 17))),
            ("HELLO", "the nonce has 16 bytes", "no nonce", record(3, uint(1, 1)))]
    for length in (0, 7, 9, 31):
        rows.append(("ANNOUNCE", "the tag has 8 bytes", "a tag of %d bytes" % length,
                     record(4, blob(2, b"t" * length))))
    for value in (3, U32_MAX):
        rows.append(("ANNOUNCE", "visibility is 0, 1 or 2", "visibility %d" % value,
                     record(4, blob(2, tag8) + uint(3, value))))
    sample16 = "a sample has 16 bytes, and is of something"
    for name, data in (("a sample of 15 bytes", uint(8, 1) + blob(9, b"s" * 15)), ("a count without a sample", uint(8, 1)),
                       ("a sample of nothing", blob(9, b"s" * 16))):
        rows.append(("ANNOUNCE", sample16, name, record(4, blob(2, tag8) + data)))
    seven, numbers = "values have 7 bytes each, and there is one", "numbers are not 0 and have 32 bits"
    for name, data in (("no value", uint(1, 1)), ("a value of 6 bytes", uint(1, 1) + blob(2, b"v" * 6)),
                       ("a value of 8 bytes", uint(1, 1) + blob(2, b"v" * 8))):
        rows.append(("IN-STEP", seven, name, record(14, data)))
    for name, data in (("the number 0", blob(2, b"v" * 7)), ("a number of 33 bits", uint(1, U32_MAX) + blob(2, b"v" * 14))):
        rows.append(("IN-STEP", numbers, name, record(14, data)))
    for name, field in (("matched", 15), ("unmatched", 16)):
        rows.append(("IN-STEP", pairs, "an odd span list of what was %s" % name, packed(field, odd)))
    symbols = "symbols are whole, with 5 to 8 bytes of a short id"
    for name, data in (("symbols without a width", blob(5, b"s" * 8)), ("symbols of width 4", uint(3, 4) + blob(5, b"s" * 7)),
                       ("symbols of width 9", uint(3, 9) + blob(5, b"s" * 12)),
                       ("symbols of width 261", uint(3, 261) + blob(5, b"s" * 8)),
                       ("a symbol and a half", uint(3, 5) + blob(5, b"s" * 12))):
        rows.append(("RECONCILE", symbols, name, record(13, record(4, data))))
    rows.append(("RECONCILE", pairs, "an odd span list", record(13, record(8, packed(1, odd)))))
    names = "short ids are whole, with 1 to 8 bytes each"
    for name, data in (("short ids of no bytes", b""), ("short ids of 9 bytes", blob(1, b"s" * 9) + uint(2, 9)),
                       ("a short id and a half", blob(1, b"s" * 3) + uint(2, 2))):
        rows.append(("RECONCILE", names, name, record(13, record(6, data))))
    rows.append(("ANNOUNCE", pairs, "an odd span list", record(4, blob(2, tag8) + packed(4, odd))))
    for record_name, field, lists in (("ACK", 5, (2, 3)), ("OFFER", 7, (2,)), ("REQUEST", 8, (2,)),
                                      ("UNAVAILABLE", 9, (2,))):
        for inner in lists:
            at = "in field %d" % inner
            rows.append((record_name, pairs, "an odd span list " + at, record(field, packed(inner, odd))))
            rows.append((record_name, pairs, "a gap beyond 64 bits " + at, record(field, packed(inner, [M64, 0]))))
            rows.append((record_name, pairs, "a span beyond 64 bits " + at, record(field, packed(inner, [0, M64]))))
        ids_field = lists[-1] + 1
        rows.append((record_name, whole, "ids of 31 bytes", record(field, blob(ids_field, id31))))
        rows.append((record_name, whole, "ids of 33 bytes", record(field, blob(ids_field, id31 + b"\1\1"))))
    rows += [
        ("UNAVAILABLE", whole, "a tombstone with an id of 31 bytes", record(9, record(4, blob(1, id31)))),
        ("UNAVAILABLE", whole, "a tombstone without an id", record(9, record(4, uint(3, 1)))),
        ("MESSAGE", whole, "a dependency of 31 bytes", in_batch(record(4, blob(4, id31)))),
        ("MESSAGE", earlier, "a back-reference of 0: to itself", in_batch(record(4, packed(3, [0])))),
        ("MESSAGE", earlier, "a back-reference to position 0", in_batch(record(4, packed(3, [5])))),
        ("MESSAGE", earlier, "a back-reference to before position 0", in_batch(record(4, packed(3, [6])))),
        ("MESSAGE", earlier, "a back-reference without positions", in_batch(record(4, packed(3, [1])), first=0)),
        ("MESSAGE", lone, "messages, and one in their place", in_batch(record(4, blob(5, b"b")) + blob(8, b"b"))),
        ("MESSAGE", lone, "one in place of messages without a body", in_batch(packed(6, [1]))),
        ("MESSAGE", whole, "one in place of messages, a dependency of 31 bytes", in_batch(blob(7, id31) + blob(8, b"b"))),
        ("MESSAGE", earlier, "one in place of messages, a back-reference to itself", in_batch(packed(6, [0]) + blob(8, b"b"))),
        ("MESSAGE", wide, "one in place of messages, at position 2^64 - 1", in_batch(blob(8, b"b"), first=M64)),
        ("MESSAGE", wide, "a message at position 2^64 - 1", in_batch(record(4, b""), first=M64)),
        ("MESSAGE", wide, "a gap beyond 64 bits", in_batch(record(4, b"") + record(4, uint(1, M64 - 5)))),
        ("MESSAGE", "timestamps have 64 bits", "a timestamp beyond 2^63 - 1",
         in_batch(uint(3, I64_MAX) + record(4, sint(2, 1)))),
        ("MESSAGE", "timestamps have 64 bits", "a timestamp below -2^63",
         in_batch(uint(3, -(1 << 63)) + record(4, sint(2, -1)))),
        ("OFFER", count, "two positions, one id", record(7, packed(2, [0, 1]) + blob(3, b"i" * 32))),
        ("OFFER", count, "one position, two ids", record(7, packed(2, [0, 0]) + blob(3, b"i" * 64))),
        ("OFFER", count, "every position, no id", record(7, packed(2, [0, M64 - 1]))),
        ("OFFER", pairs, "an odd span list beside short ids", record(17, packed(2, odd))),
        ("OFFER", "short ids have 8 bytes each", "a short id of 9 bytes", record(17, packed(2, [0, 0]) + blob(3, b"i" * 9))),
        ("OFFER", count, "two positions, one short id", record(17, packed(2, [0, 1]) + blob(3, b"i" * 8))),
        ("ACK", either, "held as a list and as one", record(5, packed(2, [0, 0]) + uint(8, 1))),
        ("ACK", either, "known as a list and as one", record(5, packed(3, [0, 0]) + uint(9, 1))),
        ("REQUEST", either, "positions as a list and as one", record(8, packed(2, [0, 0]) + uint(4, 1))),
        ("OFFER", either, "positions as a list and as one", record(7, packed(2, [0, 0]) + blob(3, b"i" * 32) + uint(5, 1))),
        ("OFFER", either, "positions of short ids as a list and as one",
         record(17, packed(2, [0, 0]) + blob(3, b"i" * 8) + uint(5, 1))),
        ("OFFER", "short ids, or one in their place", "short ids as a list and as one",
         record(17, uint(5, 1) + blob(3, b"i" * 8) + fixed(6, 1))),
        ("OFFER", count, "a short id without a position", record(17, fixed(6, 1))),
        ("OFFER", count, "every position, no short id", record(17, packed(2, [0, M64 - 1]))),
    ]
    whole_frame = encode_frame(EVERYTHING)
    rows += [(None, None, name, data) for name, data in (
        ("a frame without its last byte", whole_frame[:-1]),
        ("a frame cut in its hello", whole_frame[:20]),
        ("a length beyond the end", key(3, 2) + b"\x05\x08\x01"),
        ("a key without a value", key(1, 0)),
        ("a number that does not end", key(1, 0) + b"\x80" * 3),
        ("a number of eleven bytes", key(1, 0) + b"\x80" * 10 + b"\x01"),
        ("fixed64 of 7 bytes", record(3, key(4, 1) + b"\0" * 7)),
        ("a number where a record belongs", key(3, 0) + b"\x01"),
        ("field 0", b"\x00\x01"),
        ("wire type 7", key(1, 7)),
        ("a group that is not closed", key(2000, 3)),
    )]
    for record_name, rule, name, data in rows:
        yield {"name": "%s: %s" % (record_name or "malformed", name), "record": record_name, "rule": rule,
               "hex": data.hex()}


ABOUT = [
    "Golden vectors of Hedgerow's native wire, version 1. Written by make.py; do not edit.",
    "Bytes are hex, or {repeat, count}: that byte, so often. Integers of 64 bits are decimal strings.",
    "A span is [first, last], both included. Fields that a frame leaves out are empty, false or absent.",
    "frames: to be written as exactly these bytes, and read back. lenient_frames: to be read, never written.",
    "bad_frames: to be refused by this rule of this record; both are null where the bytes are not protobuf.",
]


def document():
    sections = [("about", ABOUT)]
    for make in (group_ids, message_ids, group_tags, step_values, samples, short_ids, reconciliations, frames, lenient_frames, bad_frames):
        sections.append((make.__name__, list(make())))
    # One vector a line, so that a difference reads well.
    texts = ('"%s": [\n%s\n]' % (name, ",\n".join(map(json.dumps, rows))) for name, rows in sections)
    return "{\n%s\n}\n" % ",\n".join(texts)


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        raise SystemExit("usage: make.py [--check]")
    blake3.check()
    text = document()
    if not sys.argv[1:]:
        sys.stdout.buffer.write(text.encode("ascii"))
        return
    path = pathlib.Path(__file__).resolve().with_name("native.json")
    found = path.read_text(encoding="ascii").splitlines()
    expected = text.splitlines()
    if found == expected:
        return
    line = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
    raise SystemExit("native.json is not what make.py writes; they part at line %d" % (line + 1))


if __name__ == "__main__":
    main()
