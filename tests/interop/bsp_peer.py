"""A peer that speaks BSP version 0 over TCP, written without a look at the Rust code: Python's standard library, and
every byte made by hand. `bsp_peer.py ADDRESS SCENARIO [ARGUMENT...]`; ADDRESS is HOST:PORT, or `listen` to be dialled.
Exit code 0: all was as it should be."""

import hashlib
import select
import socket
import struct
import sys
import time

CLIENT, MAJOR, DESCRIPTOR = b"org.example.interop", 3, b"\x01\x02"
NOW = 1_700_000_000_000
ACK, MESSAGE, OFFER, REQUEST, VERSIONS, PRIORITY, UNAVAILABLE = 0, 1, 2, 3, 4, 5, 0x48


def digest(label, *parts):
    h = hashlib.blake2b(digest_size=32)
    for part in (label,) + parts:
        h.update(struct.pack(">I", len(part)) + part)
    return h.digest()


GROUP = digest(
    b"org.briarproject.bramble/GROUP_ID", b"\x01", CLIENT, struct.pack(">I", MAJOR), DESCRIPTOR
)


def message_id(time_ms, body):
    root = digest(b"org.briarproject.bramble/MESSAGE_BLOCK", b"\x01", body)
    return digest(b"org.briarproject.bramble/MESSAGE_ID", b"\x01", GROUP, struct.pack(">q", time_ms), root)


def message(body, time_ms=NOW, group=GROUP):
    return group + struct.pack(">q", time_ms) + body


def record(kind, payload, version=0):
    return bytes([version, kind]) + struct.pack(">H", len(payload)) + payload


def split(payload):
    return [payload[at : at + 32] for at in range(0, len(payload), 32)]


class Link:
    def __init__(self, where, opening=True):
        if where == "listen":
            server = socket.create_server(("127.0.0.1", 0))
            print("listening", server.getsockname()[1], flush=True)
            server.settimeout(60)
            self.socket, _ = server.accept()
        else:
            host, port = where.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.settimeout(30)
        if opening:
            self.say(VERSIONS, b"\x00")
            if where != "listen":
                self.say(PRIORITY, b"n" * 16)
            first = self.hear(raw=True)
            assert first == (VERSIONS, b"\x00"), f"the first record is {first}"
            if where == "listen":
                kind, nonce = self.hear(raw=True)
                assert kind == PRIORITY and len(nonce) == 16, "who makes the stream gives its priority"

    def say(self, kind, payload):
        self.socket.sendall(record(kind, payload))

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            assert part, "the node went away"
            data += part
        return data

    def hear(self, raw=False):
        version, kind, length = struct.unpack(">BBH", self.exactly(4))
        assert version == 0
        payload = self.exactly(length)
        return (kind, payload) if raw or kind == MESSAGE else (kind, split(payload))

    def quiet(self, seconds=0.7):
        until = time.monotonic() + seconds
        if select.select([self.socket], [], [], max(0, until - time.monotonic()))[0]:
            raise AssertionError(f"the node says {self.hear(raw=True)}")

    def ended(self):
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionError:
            pass


def push(where, count):
    """Sends messages unasked, each twice; all are acknowledged."""
    link = Link(where)
    sent = {}
    for n in range(int(count)):
        body = b"pushed %d" % n
        sent[message_id(NOW + n, body)] = message(body, NOW + n)
    for one in list(sent.values()) * 2:
        link.say(MESSAGE, one)
    link.say(99, b"a type that nobody knows")
    acked = set()
    while acked != set(sent):
        kind, got = link.hear()
        assert kind == ACK
        acked |= set(got)


def offer(where, count):
    """Offers messages, sends what is requested, and offers all again."""
    link = Link(where)
    held = {}
    for n in range(int(count)):
        body = b"offered %d" % n
        held[message_id(NOW + n, body)] = message(body, NOW + n)
    all_ids = list(held)
    for start in range(0, len(all_ids), 1536):
        link.say(OFFER, b"".join(all_ids[start : start + 1536]))
    requested, acked = [], set()
    while acked != set(held):
        kind, got = link.hear()
        if kind == REQUEST:
            requested += got
            for one in got:
                link.say(MESSAGE, held[one])
        else:
            assert kind == ACK
            acked |= set(got)
    assert sorted(requested) == sorted(held), "each is requested once"
    link.say(OFFER, b"".join(all_ids[:1536]))
    again = set()
    while again != set(all_ids[:1536]):
        kind, got = link.hear()
        assert kind == ACK, "what is held is not requested"
        again |= set(got)


def receive(where, count, cut="0", mode="interactive"):
    """Takes messages; with `cut`, the connection is lost after so many, without an acknowledgement."""
    bodies = {}
    for limit in ([int(cut)] if int(cut) else []) + [int(count)]:
        link = Link(where)
        got = {} if limit != int(count) else bodies
        open_offers, offered = set(), 0
        while len(got) < limit:
            kind, heard = link.hear()
            if kind == OFFER:
                offered += len(heard)
                open_offers |= set(heard)
                assert len(open_offers) <= 1000, f"{len(open_offers)} offers are unanswered"
                link.say(REQUEST, b"".join(heard))
                open_offers -= set(heard)
            elif kind == MESSAGE:
                time_ms = struct.unpack(">q", heard[32:40])[0]
                got[message_id(time_ms, heard[40:])] = heard[40:]
        assert (offered > 0) == (mode == "interactive"), f"{offered} offers in {mode} mode"
        if limit == int(count):
            done = list(bodies)
            for start in range(0, len(done), 1536):
                link.say(ACK, b"".join(done[start : start + 1536]))
            link.quiet()
        link.socket.close()
    for body in sorted(bodies.values()):
        print(body.decode())


def silent(where):
    """A settled node says nothing at a contact but what a stream begins with."""
    Link(where).quiet()


def window(where, count):
    """No more than 1,000 offers are unanswered, and each answer makes room at once."""
    link = Link(where)
    offered = []
    while len(offered) < 1000:
        kind, got = link.hear()
        assert kind == OFFER
        offered += got
    assert len(offered) == 1000
    link.quiet()
    link.say(ACK, b"".join(offered[:10]))
    kind, got = link.hear()
    assert (kind, len(got)) == (OFFER, 10)
    link.quiet()
    answered, rest = 10, offered[10:] + got
    while answered < int(count):
        link.say(ACK, b"".join(rest[:500]))
        answered += len(rest[:500])
        rest = rest[500:]
        while len(rest) < min(1000, int(count) - answered):
            kind, got = link.hear()
            assert kind == OFFER
            rest += got
    link.quiet()


def unavailable(where):
    """What is not there is said to be so, in a record that deployed peers skip."""
    link = Link(where)
    link.say(REQUEST, b"u" * 32)
    kind, got = link.hear()
    assert (kind, got) == (UNAVAILABLE, [b"u" * 32])


def half(where, count):
    """The connection is lost in the middle of a record; what was whole counts."""
    link = Link(where)
    whole = [message(b"half %d" % n, NOW + n) for n in range(int(count))]
    for one in whole:
        link.say(MESSAGE, one)
    link.socket.sendall(record(MESSAGE, message(b"cut off"))[:30])
    link.socket.close()
    link = Link(where)
    for one in whole:
        link.say(MESSAGE, one)
    acked = set()
    while len(acked) < int(count):
        acked |= set(link.hear()[1])


def malformed(where):
    """Each record that breaks a rule ends the link."""
    bad = [record(kind, b"x" * size) for kind in (ACK, OFFER, REQUEST) for size in (0, 1, 31, 33, 49152 + 32)]
    bad += [record(ACK, b"x" * 32, version=1), record(9, b"", version=255), record(9, b"x" * 49153)]
    bad += [record(MESSAGE, b""), record(MESSAGE, GROUP), record(MESSAGE, message(b""))]
    bad += [record(MESSAGE, message(b"x" * 32769)), record(MESSAGE, message(b"x", -1))]
    bad += [record(VERSIONS, b""), record(VERSIONS, bytes(11)), record(VERSIONS, b"\x01\x02")]
    bad += [record(PRIORITY, b"n" * 15), record(PRIORITY, b"n" * 17), record(PRIORITY, b"")]
    bad += [b"GET / HTTP/1.1\r\n\r\n"]
    for raw in bad:
        link = Link(where)
        link.socket.sendall(raw)
        link.ended()
    link = Link(where)
    link.say(MESSAGE, message(b"elsewhere", NOW, b"z" * 32))
    link.say(9, b"x" * 49152)
    link.say(MESSAGE, message(b"good"))
    assert link.hear() == (ACK, [message_id(NOW, b"good")])


if __name__ == "__main__":
    scenarios = {f.__name__: f for f in [push, offer, receive, silent, window, unavailable, half, malformed]}
    scenarios[sys.argv[2]](sys.argv[1], *sys.argv[3:])
