"""An MQTT 3.1.1 client that sends the packets it is told to, and keeps what comes."""
import queue
import select
import socket
import ssl
import struct
import threading
import time

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 10, 11, 12, 13, 14
API_VERSION = "?api-version=2021-04-12"


def field(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">H", len(data)) + data


def packet(kind, flags, body):
    length, head = len(body), bytearray([kind << 4 | flags])
    while True:
        length, digit = length >> 7, length & 127
        head.append(digit | (128 if length else 0))
        if not length:
            return bytes(head) + body


def connect_packet(client_id, user=None, password=None, clean=True, keep_alive=60, will=None,
                   level=4, name="MQTT"):
    """will: (topic, body, qos, retain)."""
    flags = (2 if clean else 0) | (0x80 if user is not None else 0)
    flags |= 0x40 if password is not None else 0
    body = field(client_id)
    if will is not None:
        flags |= 4 | will[2] << 3 | (0x20 if will[3] else 0)
        body += field(will[0]) + field(will[1])
    for value in (user, password):
        body += field(value) if value is not None else b""
    extra = b"\0" if level == 5 else b""
    return packet(CONNECT, 0, field(name) + bytes([level, flags]) +
                  struct.pack(">H", keep_alive) + extra + body)


class Closed(Exception):
    """The broker ended the connection."""


def connected(address, ca_file, host, timeout_s):
    """A socket, over TLS unless ca_file is None."""
    plain = socket.create_connection(address, timeout=timeout_s)
    if ca_file is None:
        return plain
    return ssl.create_default_context(cafile=ca_file).wrap_socket(plain, server_hostname=host)


class Client:
    """One connection. acknowledge False leaves messages with QoS 1 without a PUBACK."""

    def __init__(self, address, ca_file=None, host=None, acknowledge=True, timeout_s=30):
        self.timeout_s = timeout_s
        self.acknowledge = acknowledge
        self.messages = queue.Queue()
        self.answers = queue.Queue()
        self.session_present = None
        self._next_id = 0
        try:
            self.socket = connected(address, ca_file, host, timeout_s)
        except ssl.SSLCertVerificationError:
            raise
        except ssl.SSLError:
            # Once, on a machine under heavy load, Mosquitto 2.0.11 began a connection that came
            # right after a refused one with bytes that were no TLS. Devices try again, too.
            self.socket = connected(address, ca_file, host, timeout_s)
        self.socket.setblocking(False)
        self._data = b""
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read_all, daemon=True)
        self._thread.start()

    # ---- packets: one thread at a time uses the TLS session, and waits without it

    def send(self, data):
        with self._lock:
            while data:
                try:
                    data = data[self.socket.send(data):]
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    select.select([], [self.socket], [], 1)

    def _receive(self):
        while True:
            try:
                with self._lock:
                    return self.socket.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                select.select([self.socket], [], [])

    def _read(self, count):
        while len(self._data) < count:
            piece = self._receive()
            if not piece:
                raise EOFError
            self._data += piece
        data, self._data = self._data[:count], self._data[count:]
        return data

    def _read_all(self):
        try:
            while True:
                head = self._read(1)[0]
                length, shift = 0, 0
                while True:
                    digit = self._read(1)[0]
                    length |= (digit & 127) << shift
                    shift += 7
                    if digit < 128:
                        break
                self._take(head >> 4, head & 15, self._read(length))
        except (EOFError, OSError, ValueError):
            pass
        self._end.set()
        self.answers.put(None)
        self.messages.put(None)

    def _take(self, kind, flags, body):
        if kind != PUBLISH:
            self.answers.put((kind, body))
            return
        qos, topic_len = flags >> 1 & 3, struct.unpack(">H", body[:2])[0]
        topic, rest = body[2:2 + topic_len].decode(), body[2 + topic_len:]
        packet_id = rest[:2] if qos else None
        self.messages.put((topic, rest[2:] if qos else rest, qos, bool(flags & 8)))
        if qos and self.acknowledge:
            self.send(packet(PUBACK, 0, packet_id))

    def answer(self, kind):
        """The body of the next packet that is no message; it has to be of that kind."""
        got = self.answers.get(timeout=self.timeout_s)
        if got is None:
            raise Closed
        assert got[0] == kind, got
        return got[1]

    # ---- what clients do

    def connect(self, *args, **kwargs):
        """The return code, or Closed."""
        self.send(connect_packet(*args, **kwargs))
        body = self.answer(CONNACK)
        self.session_present = bool(body[0])
        return body[1]

    def packet_id(self):
        self._next_id += 1
        return struct.pack(">H", self._next_id)

    def publish(self, topic, body=b"", qos=0, retain=False):
        """Waits for the PUBACK of QoS 1."""
        data = body if isinstance(body, bytes) else body.encode()
        packet_id = self.packet_id() if qos else b""
        self.send(packet(PUBLISH, qos << 1 | retain, field(topic) + packet_id + data))
        if qos == 1:
            assert self.answer(PUBACK) == packet_id

    def subscribe(self, *filters, qos=1):
        """The return code of each."""
        packet_id = self.packet_id()
        self.send(packet(SUBSCRIBE, 2, packet_id +
                         b"".join(field(name) + bytes([qos]) for name in filters)))
        body = self.answer(SUBACK)
        assert body[:2] == packet_id
        return list(body[2:])

    def unsubscribe(self, *filters):
        packet_id = self.packet_id()
        self.send(packet(UNSUBSCRIBE, 2, packet_id + b"".join(map(field, filters))))
        assert self.answer(UNSUBACK) == packet_id

    def ping(self):
        """Comes back once the broker has taken everything before; raises Closed."""
        self.send(packet(PINGREQ, 0, b""))
        self.answer(PINGRESP)

    def message(self, timeout_s=None):
        """The next (topic, body, qos, dup)."""
        got = self.messages.get(timeout=timeout_s or self.timeout_s)
        if got is None:
            raise Closed
        return got

    def silent(self, for_s=0.5):
        """True when no message comes for a while."""
        time.sleep(for_s)
        return self.messages.empty()

    def is_open(self):
        return not self._end.is_set()

    def wait_closed(self, timeout_s=None):
        return self._end.wait(timeout_s or self.timeout_s)

    def disconnect(self):
        self.send(packet(DISCONNECT, 0, b""))
        self.wait_closed()
        self.drop()

    def drop(self):
        """Without a DISCONNECT: the will is published."""
        with self._lock:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        # Closed under it, the thread would read what gets the descriptor next.
        self._thread.join(self.timeout_s)
        assert not self._thread.is_alive()
        self.socket.close()
