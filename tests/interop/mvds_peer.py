"""A peer that speaks MVDS over TCP, written without a look at the Rust code: Python's standard library, and every
byte made by hand. `mvds_peer.py ADDRESS SCENARIO [ARGUMENT...]`; ADDRESS is HOST:PORT, or `listen` to be dialled.
Exit code 0: all was as it should be."""

import hashlib
import select
import socket
import struct
import sys
import time

KEY = bytes([4]) + b"p" * 64
GROUP = bytes(range(32))
NOW = 1_700_000_000
ACKS, OFFERS, REQUESTS, MESSAGES, GROUP_OFFERS = 5001, 5002, 5003, 5004, 5005


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    at, out = 0, []

    def number():
        nonlocal at
        n, shift = 0, 0
        while True:
            byte, at = data[at], at + 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            out.append((tag >> 3, number()))
        else:
            assert tag & 7 == 2, "a wire type that this wire does not have"
            size = number()
            out.append((tag >> 3, data[at : at + size]))
            at += size
    return out


def message_id(group, seconds, body):
    return hashlib.sha256(b"MESSAGE_ID" + group + struct.pack("<q", seconds) + body).digest()


def message(body, parents=(), seconds=NOW, group=GROUP):
    out = field(6001, group) + varint(6002 << 3) + varint(seconds & (1 << 64) - 1) + field(6003, body)
    if parents:
        out += field(6004, b"".join(field(1, parent) for parent in parents))
    return out


class Link:
    def __init__(self, where):
        if where == "listen":
            server = socket.create_server(("127.0.0.1", 0))
            print("listening", server.getsockname()[1], flush=True)
            server.settimeout(60)
            self.socket, _ = server.accept()
        else:
            host, port = where.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.settimeout(30)
        self.seen = []
        if where != "listen":
            self.say(b"")

    def say(self, payload, key=KEY):
        self.socket.sendall(struct.pack(">I", len(key) + len(payload)) + key + payload)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part, "the node went away"
            data += part
        return data

    def hear(self):
        """The next payload, as a list of (field, bytes)."""
        (length,) = struct.unpack(">I", self.exactly(4))
        self.exactly(65)
        return fields(self.exactly(length - 65))

    def quiet(self, seconds=0.7):
        """Nothing but empty payloads comes for a while."""
        until = time.monotonic() + seconds
        while select.select([self.socket], [], [], max(0, until - time.monotonic()))[0]:
            heard = self.hear()
            assert not heard, f"the node says {heard}"

    def ended(self):
        """The node ends the link."""
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionError:
            pass


def ids(heard, kind):
    return [value for number, value in heard if number == kind]


def push(where, count):
    """Sends messages at once, each twice; all are acknowledged."""
    link = Link(where)
    sent, parent = {}, ()
    for n in range(int(count)):
        body = b"pushed %d" % n
        at = message_id(GROUP, NOW + n, body)
        sent[at] = message(body, parent, NOW + n)
        parent = (at,)
    wire = list(sent.values())
    for start in range(0, len(wire), 16):
        link.say(b"".join(field(MESSAGES, one) for one in wire[start : start + 16]))
    for one in wire[::-1]:
        link.say(field(MESSAGES, one))
    acked = []
    while set(acked) != set(sent):
        acked += ids(link.hear(), ACKS)
    assert set(acked) == set(sent)


def offer(where, count):
    """Offers messages, sends what is requested, and offers all again."""
    link = Link(where)
    held = {}
    for n in range(int(count)):
        body = b"offered %d" % n
        held[message_id(GROUP, NOW + n, body)] = message(body, (), NOW + n)
    # Half of the offers name their group.
    half = list(held)[: len(held) // 2]
    named = [field(GROUP_OFFERS, field(1, GROUP) + field(2, one)) for one in half]
    link.say(b"".join(named) + b"".join(field(OFFERS, one) for one in held if one not in half))
    requested, acked = [], set()
    while acked != set(held):
        heard = link.hear()
        asked = ids(heard, REQUESTS)
        requested += asked
        acked |= set(ids(heard, ACKS))
        if asked:
            link.say(b"".join(field(MESSAGES, held[one]) for one in asked))
    assert sorted(requested) == sorted(held), "each is requested once"
    link.say(b"".join(field(OFFERS, one) for one in held))
    again = set()
    while again != set(held):
        heard = link.hear()
        assert not ids(heard, REQUESTS), "what is held is not requested"
        again |= set(ids(heard, ACKS))


def receive(where, count, cut="0", mode="batch"):
    """Takes messages; with `cut`, the connection is lost after so many, without an acknowledgement."""
    bodies = {}
    for limit in ([int(cut)] if int(cut) else []) + [int(count)]:
        link = Link(where)
        got = {} if limit != int(count) else bodies
        offered = 0
        while len(got) < limit:
            heard = link.hear()
            asked = ids(heard, OFFERS)
            offered += len(asked)
            if asked:
                link.say(b"".join(field(REQUESTS, one) for one in asked))
            for one in ids(heard, MESSAGES):
                parts = dict(fields(one))
                at = message_id(parts[6001], parts.get(6002, 0), parts.get(6003, b""))
                got[at] = parts[6003]
        assert (offered > 0) == (mode == "interactive"), f"{offered} offers in {mode} mode"
        if limit == int(count):
            link.say(b"".join(field(ACKS, at) for at in bodies))
            link.quiet()
        link.socket.close()
    for body in sorted(bodies.values()):
        print(body.decode())


def silent(where):
    """A settled node says nothing at a contact, and nothing to empty payloads."""
    link = Link(where)
    for _ in range(5):
        link.say(b"")
    link.quiet()


def half(where, count):
    """The connection is lost in the middle of a frame; what was whole counts."""
    link = Link(where)
    whole = [message(b"half %d" % n, (), NOW + n) for n in range(int(count))]
    link.say(b"".join(field(MESSAGES, one) for one in whole))
    link.socket.sendall(struct.pack(">I", 1000) + KEY + b"only the beginning")
    link.socket.close()
    # Sent again in full, all are acknowledged, those from before too. Of two connections that a peer makes at once
    # either may be the one that stays: who loses it comes again.
    acked = set()
    for attempt in range(10):
        try:
            link = Link(where)
            link.say(b"".join(field(MESSAGES, one) for one in whole))
            while len(acked) < int(count):
                acked |= set(ids(link.hear(), ACKS))
            return
        except (AssertionError, OSError):
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError("%d of %s are acknowledged" % (len(acked), count))


def malformed(where):
    """What breaks the wire ends the link, and nothing else."""
    short = field(6001, GROUP[:31]) + field(6003, b"x")
    for payload in [
        b"\xff\xff\xff",
        field(ACKS, b"short"),
        field(OFFERS, b"x" * 33),
        field(REQUESTS, b""),
        field(MESSAGES, short),
        field(MESSAGES, field(6003, b"no group")),
        field(MESSAGES, b"\x8a\xf7\x02\x7f"),
        field(GROUP_OFFERS, field(2, b"x" * 32)),
    ]:
        link = Link(where)
        link.say(payload)
        link.ended()
    for raw in [
        struct.pack(">I", 0xFFFFFFFF) + KEY,
        struct.pack(">I", 64) + KEY,
        struct.pack(">I", 65) + bytes([4]) + b"q" * 64,
        b"GET / HTTP/1.1\r\nHost: somewhere\r\nAccept: everything that there is to be had, and more of it\r\n\r\n",
    ]:
        link = Link(where)
        link.socket.sendall(raw)
        link.ended()
    # Messages beyond the limits are refused, and the link goes on.
    link = Link(where)
    good = message(b"good", (), NOW)
    bad = [message(b"x" * 32769), message(b"early", (), -1), message(b"elsewhere", (), NOW, b"z" * 32)]
    link.say(b"".join(field(MESSAGES, one) for one in bad + [good]))
    assert ids(link.hear(), ACKS) == [message_id(GROUP, NOW, b"good")]


if __name__ == "__main__":
    scenarios = {f.__name__: f for f in [push, offer, receive, silent, half, malformed]}
    scenarios[sys.argv[2]](sys.argv[1], *sys.argv[3:])
