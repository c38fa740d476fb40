#!/usr/bin/python3
"""Speak the Microsoft TPM simulator's protocol in front of a swtpm.

usage: mssim_bridge.py SWTPM-SOCKET [PORT]     PORT (2321) takes commands, PORT + 1 platform signals

The Azure SDKs for Node and C reach a software TPM only by that protocol (TPM 2.0 Part 4, the
simulator's TcpServer): each request starts with a 32-bit number, and each answer ends with a 32-bit
zero. swtpm takes bare TPM commands instead. Prints "ready" once both ports listen.
"""
import socket
import struct
import sys
import threading

POWER_ON, POWER_OFF, SEND_COMMAND, NV_ON, NV_OFF = 1, 2, 8, 11, 12
HANDSHAKE, SESSION_END, STOP = 15, 20, 21
PLATFORM_AVAILABLE = 1
TPM_MESSAGE_MAX = 4096


def read_exactly(peer, count):
    data = b""
    while len(data) < count:
        piece = peer.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def read_u32(peer):
    return struct.unpack(">I", read_exactly(peer, 4))[0]


def ask_tpm(tpm, command):
    tpm.sendall(command)
    head = read_exactly(tpm, 10)
    return head + read_exactly(tpm, struct.unpack(">I", head[2:6])[0] - 10)


def serve_commands(peer, tpm_path, lock):
    """One client of the command port. The TPM is held from its first command to its end."""
    with socket.socket(socket.AF_UNIX) as tpm, lock:
        tpm.connect(tpm_path)
        while True:
            request = read_u32(peer)
            if request == HANDSHAKE:
                read_u32(peer)
                peer.sendall(struct.pack(">III", 1, PLATFORM_AVAILABLE, 0))
            elif request == SEND_COMMAND:
                _locality, size = struct.unpack(">BI", read_exactly(peer, 5))
                if not 10 <= size <= TPM_MESSAGE_MAX:
                    return
                answer = ask_tpm(tpm, read_exactly(peer, size))
                peer.sendall(struct.pack(">I", len(answer)) + answer + struct.pack(">I", 0))
            else:
                return


def serve_platform(peer):
    """One client of the platform port. The TPM is powered all the time: signals only get a nod."""
    while read_u32(peer) not in (SESSION_END, STOP):
        peer.sendall(struct.pack(">I", 0))


def guarded(serve, peer, *arguments):
    with peer:
        try:
            serve(peer, *arguments)
        except (EOFError, OSError):
            pass


def accept_all(listener, serve, *arguments):
    while True:
        peer, _ = listener.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=guarded, args=(serve, peer) + arguments, daemon=True).start()


def main(tpm_path, port=2321):
    commands = socket.create_server(("127.0.0.1", port))
    platform = socket.create_server(("127.0.0.1", port + 1))
    print("ready", flush=True)
    threading.Thread(target=accept_all, args=(platform, serve_platform), daemon=True).start()
    accept_all(commands, serve_commands, tpm_path, threading.Lock())


if __name__ == "__main__":
    main(sys.argv[1], *(int(port) for port in sys.argv[2:]))
