#!/usr/bin/python3
"""Log on to RabbitMQ by AMQP 0-9-1 from where this runs, for networks of a test's own.

usage: amqp_login.py USER PASSWORD      prints "in", or "refused"
"""
import socket
import struct
import sys

START, START_OK, TUNE, CLOSE = (10, 10), (10, 11), (10, 30), (10, 50)


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def method(sock):
    """The class and method of the next frame."""
    _, _, size = struct.unpack(">BHI", read_exactly(sock, 7))
    body = read_exactly(sock, size + 1)
    return struct.unpack(">HH", body[:4])


def short(text):
    return bytes([len(text)]) + text


def long(text):
    return struct.pack(">I", len(text)) + text


def main(user, password):
    sock = socket.create_connection(("127.0.0.1", 5672), timeout=30)
    sock.sendall(b"AMQP\0\0\x09\x01")
    assert method(sock) == START
    body = struct.pack(">HH", *START_OK) + long(b"") + short(b"PLAIN")
    body += long(f"\0{user}\0{password}".encode()) + short(b"en_US")
    sock.sendall(struct.pack(">BHI", 1, 0, len(body)) + body + b"\xce")
    try:
        answer = method(sock)
    except (EOFError, ConnectionError):
        answer = CLOSE
    assert answer in (TUNE, CLOSE), answer
    print("in" if answer == TUNE else "refused")


main(*sys.argv[1:])
