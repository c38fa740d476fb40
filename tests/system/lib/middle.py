"""A TLS server that a test puts where the service should be: it answers itself or passes on."""
import os
import socket
import ssl
import threading


class Request:
    def __init__(self, head, body):
        self.raw = head + body
        line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.method, self.path, _ = line.split(" ", 2)
        self.headers = {name.lower(): value.strip()
                        for name, value in (line.split(":", 1) for line in lines)}

    @property
    def step(self):
        """What it is in a registration."""
        if self.method == "GET":
            return "poll"
        return "authorize" if "authorization" in self.headers else "challenge"


def read_message(stream):
    """(head, body) of one message with a Content-Length, or None at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        head += line
    length = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
              if line.startswith(b"content-length:")]
    return head, stream.read(length[0] if length else 0)


def answer(status, body=b"", *headers):
    """The bytes of an answer."""
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n" + "".join(
        line + "\r\n" for line in headers)
    return head.encode("latin-1") + b"\r\n" + body


class Middle:
    """judge(request, forward) returns the bytes to send, or None to close the connection.

    forward() passes the request on to the service and returns its answer. requests is what came.
    """

    def __init__(self, tls_directory, judge, service_address=None, ca_file=None):
        self.judge = judge
        self.requests = []
        self.service_address = service_address
        self.ca_file = ca_file
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(tls_directory, "server.pem"),
                                     os.path.join(tls_directory, "server.key"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def steps(self):
        return [request.step for request in self.requests]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        try:
            with self.context.wrap_socket(peer, server_side=True) as tls, tls.makefile("rb") as stream:
                while True:
                    message = read_message(stream)
                    if message is None:
                        return
                    request = Request(*message)
                    self.requests.append(request)
                    data = self.judge(request, lambda: self._forward(request))
                    if data is None:
                        return
                    tls.sendall(data)
                    if b"onnection: close\r\n" in data[:2000]:
                        return
        except (OSError, ValueError):
            pass

    def _forward(self, request):
        context = ssl.create_default_context(cafile=self.ca_file)
        with socket.create_connection(self.service_address, timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(request.raw)
                with tls.makefile("rb") as stream:
                    return b"".join(read_message(stream))
