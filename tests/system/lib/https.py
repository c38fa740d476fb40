"""An HTTPS client that sends the bytes it is given, and reads answers strictly."""
import json
import socket
import ssl


class Answer:
    """One answer: head holds its raw bytes, headers its lines as (lower-case name, value)."""

    def __init__(self, head, body):
        self.head = head
        self.body = body
        status_line, *lines = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
        version, status, self.reason = status_line.split(" ", 2)
        assert version == "HTTP/1.1", status_line
        self.status = int(status)
        self.headers = [(name.lower(), value.strip())
                        for name, value in (line.split(":", 1) for line in lines)]

    def header(self, name):
        """The value of a header that is there at most once."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    def json(self):
        assert self.header("content-type") == "application/json; charset=utf-8", self.headers
        return json.loads(self.body)

    @property
    def request_id(self):
        return self.header("x-ms-request-id")

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:400]!r}>"


class Connection:
    """One TLS connection. timeout_s bounds each read and write; source is the own address, cert
    what the client proves itself with: (certificate file, key file)."""

    def __init__(self, address, ca_file, server_name, timeout_s=20, source="", cert=None):
        context = ssl.create_default_context(cafile=ca_file)
        if cert is not None:
            context.load_cert_chain(*cert)
        tcp = socket.create_connection(address, timeout=timeout_s, source_address=(source, 0))
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.tls = context.wrap_socket(tcp, server_hostname=server_name)
        except BaseException:
            tcp.close()
            raise
        self.pending = b""

    def send(self, data):
        self.tls.sendall(data)

    def _more(self):
        piece = self.tls.recv(65536)
        if not piece:
            raise EOFError(f"closed after {self.pending[:200]!r}")
        self.pending += piece

    def read(self, with_body=True):
        """The next answer. Everything here has a Content-Length, so another framing is an error."""
        while b"\r\n\r\n" not in self.pending:
            self._more()
        head, self.pending = self.pending.split(b"\r\n\r\n", 1)
        answer = Answer(head + b"\r\n\r\n", b"")
        assert answer.header("transfer-encoding") is None, answer
        if answer.status == 204 or not with_body:
            return answer
        length = int(answer.header("content-length"))
        while len(self.pending) < length:
            self._more()
        answer.body, self.pending = self.pending[:length], self.pending[length:]
        return answer

    def ask(self, data):
        self.send(data)
        return self.read()

    def closed(self):
        """Whether the peer ends the connection without another byte, within the timeout."""
        try:
            return not self.pending and self.tls.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True
        except TimeoutError:
            return False

    def close(self):
        self.tls.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def request(method, target, headers, body=b""):
    """Raw bytes of a request. headers is a list of (name, value), written as they are."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body
