#!/usr/bin/env python3
"""A Zaichik client that sends three messages through a new topic and back. Usage: PORT=8889 python3 echo.py"""
import os
import select
import socket
import struct
import sys
import uuid
from io import BytesIO

CLIENT = dict(Hello=1, CreateTopic=2, Publish=4, Subscribe=5, Unsubscribe=6, Commit=7, Pong=12, Close=13)
# kind: name, field names, and a code for each field. B H I Q: as in struct; b, h: bytes after a u8 or u16 length;
# r: a record (key, headers, body, timestamp), of which window 1 allows one. One publish is in flight: Acks has one run.
BROKER = {
    0x41: ("Welcome", "version instance_low instance_high max_message max_frame max_records max_window "
                      "max_window_size max_subscriptions heartbeat_millis server", "HQQIIIIIIIb"),
    0x42: ("TopicReady", "request status", "IB"),
    0x43: ("Acks", "runs request requests first_offset", "IIIQ"),
    0x44: ("Published", "request created first_offset duplicates", "IBQI"),
    0x46: ("Refused", "request count code operation value", "IIHIQ"),
    0x47: ("Done", "request value", "IQ"),
    0x48: ("Subscribed", "request subscription epoch rewind created start end", "IIIIBQQ"),
    0x49: ("Delivery", "subscription rewind attempt count first_offset record", "IIIIQr"),
    0x4C: ("Unsubscribed", "request subscription last_offset", "IIQ"),
    0x4D: ("Ping", "nonce", "Q"),
    0x4F: ("Goodbye", "reason grace_millis", "BI"),
    0x50: ("Fatal", "code offset text", "HQh"),
}
KEY, HEADERS, TIMEOUT, PAUSE = 1, 2, 5, 0.2  # flags of a record; seconds
MESSAGES = [(None, [], b"first", 0), (b"k1", [(b"trace", b"\1\2")], b"second", 0), (None, [], b"", 0)]


def require(condition, complaint):
    if not condition:
        raise ValueError(complaint)


def encode(code, value):
    if code in "bh":
        return encode(code.upper(), len(value)) + value
    if code != "r":
        return struct.pack("<" + code, value)
    key, headers, body, timestamp = value
    section = b"".join(encode("b", name) + encode("h", content) for name, content in headers)
    section = struct.pack("<IH", 2 + len(section), len(headers)) + section if headers else b""
    flags = (0 if key is None else KEY) | (HEADERS if headers else 0)
    record = struct.pack("<BxHQ", flags, len(key or b""), timestamp) + section + (key or b"") + body
    return encode("I", len(record)) + record


def decode(code, stream):
    """Treats missing bytes as zero: receive() then finds that the encoding differs (§1)."""
    if code in "bh":
        return stream.read(decode(code.upper(), stream))
    if code != "r":
        return int.from_bytes(stream.read(struct.calcsize("<" + code)), "little")
    record = BytesIO(stream.read(decode("I", stream)))
    flags, _, key_size, timestamp = (decode(field, record) for field in "BBHQ")
    section = BytesIO(record.read(decode("I", record)) if flags & HEADERS else b"")
    headers = [(decode("b", section), decode("h", section)) for _ in range(decode("H", section))]
    return record.read(key_size) if flags & KEY else None, headers, record.read(), timestamp


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.limit, self.ready, self.deliveries = 4096, False, []

    def send(self, name, codes="", /, **fields):
        print("->", name, *(f"{key}={value!r}" for key, value in fields.items()), flush=True)
        body = b"".join(map(encode, codes, fields.values()))
        self.socket.sendall(struct.pack("<IB3x", len(body), CLIENT[name]) + body)

    def read(self, size):
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            require(chunk, "the broker closed the connection early")
            data += chunk
        return data

    def receive(self):
        """Reads one frame. Returns its name and fields, or None after handling an extension or a Ping."""
        size, kind, reserved = struct.unpack("<IB3s", self.read(8))
        require(size <= self.limit and not any(reserved), f"bad header: kind 0x{kind:02x}, {size} bytes")
        stream = BytesIO(self.read(size))
        if kind >= 0x80 and self.ready:
            return print(f"<- extension 0x{kind:02x}, skipped", flush=True)
        require(kind in BROKER, f"unexpected frame of kind 0x{kind:02x}")
        name, keys, codes = BROKER[kind]
        fields = {key: decode(code, stream) for key, code in zip(keys.split(), codes)}
        print("<-", name, *(f"{key}={value!r}" for key, value in fields.items()), flush=True)
        require(b"".join(map(encode, codes, fields.values())) == stream.getvalue(), f"{name} is malformed or too long")
        return self.send("Pong", "Q", **fields) if name == "Ping" and self.ready else (name, fields)

    def expect(self, *names, **values):
        """Returns the fields of the next frame, which must be one of names. Keeps a Delivery that overtakes it (§5.1)."""
        frame = self.deliveries.pop(0) if self.deliveries and "Delivery" in names else self.receive()
        while not frame or frame[0] == "Delivery" and "Delivery" not in names:
            self.deliveries += [frame] if frame else []
            frame = self.receive()
        name, fields = frame
        require(name in names, f"{name} {fields} instead of {' or '.join(names)}")
        for key, value in values.items():
            require(fields.get(key, value) == value, f"{name}: {key} is {fields.get(key)!r}, not {value!r}")
        return fields

    def expect_pause(self):
        while select.select([self.socket], [], [], PAUSE)[0]:
            require(not self.receive(), "received a frame although the window is full")
        require(not self.deliveries, "received a Delivery although the window is full")


def run(port):
    link, topic = Connection(port), f"echo-{uuid.uuid4()}".encode()
    link.socket.sendall(b"ZAI\x01")
    link.send("Hello", "Hbh", version=1, name=b"echo", token=b"")
    limits = link.expect("Welcome", version=1)
    require(limits["max_message"] >= 100, "max_message is too small for this program")
    link.limit, link.ready = limits["max_frame"] + 4096, True
    link.send("CreateTopic", "IbHQ", request=1, topic=topic, settings=1, retention_ttl=60_000_000)
    link.expect("TopicReady", request=1, status=1)
    link.send("Subscribe", "IIBQIIIbbB", request=2, subscription=7, start=0, value=0, window=1, window_bytes=0,
              max_attempts=0, topic=topic, dead_letter=b"", durable=0)
    rewind = link.expect("Subscribed", request=2, subscription=7, epoch=0, created=0, start=0, end=0)["rewind"]
    for offset, message in enumerate(MESSAGES):
        link.send("Publish", "IIBBbr", request=10 + offset, count=1, ack=1, producer=0, topic=topic, record=message)
        link.expect("Acks", "Published", request=10 + offset, first_offset=offset,
                    runs=1, requests=1, created=0, duplicates=0)  # whichever of these the frame has
    for offset, message in enumerate(MESSAGES):
        delivery = link.expect("Delivery", subscription=7, rewind=rewind, attempt=1, count=1, first_offset=offset)
        *content, timestamp = delivery["record"]
        require((*content, 0) == message and timestamp > 0, f"record {delivery['record']} instead of {message}")
        link.expect_pause()
        link.send("Commit", "IIQB", request=20 + offset, subscription=7, offset=offset, quiet=0)
        link.expect("Done", request=20 + offset, value=offset + 1)
    link.send("Unsubscribe", "II", request=5, subscription=7)
    link.expect("Unsubscribed", request=5, subscription=7, last_offset=len(MESSAGES) - 1)
    link.send("Close")
    link.expect("Goodbye", reason=0)
    require(not link.deliveries and link.socket.recv(1) == b"", "received more than this conversation asks for")
    link.socket.close()


if __name__ == "__main__":
    try:
        run(int(os.environ.get("PORT") or "8889"))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"echo: failed: {error}")
    print("echo: ok")
