"""Test only: a lookup server as small as it can be: signed packets over HTTP (PUT, GET), their TXT records over DNS (UDP). It checks
nothing, and notes what is asked."""
import http.server, socket, struct, threading

ORIGIN = "lookup.test"


def texts(payload):
    """The TXT records of a relay payload: signature (64), timestamp (8), DNS message."""
    message, found = payload[72:], []
    at = 12
    for _ in range(struct.unpack(">H", message[6:8])[0]):
        while message[at] != 0 and message[at] < 0xC0:
            at += 1 + message[at]
        at += 2 if message[at] >= 0xC0 else 1
        kind, _, _, size = struct.unpack(">HHIH", message[at:at + 10])
        at += 10
        if kind == 16:
            found.append(message[at:at + size])
        at += size
    return found


class LookupServer:
    def __init__(self):
        self.packets, self.puts, self.gets, self.queries, self.status = {}, [], [], [], None
        self.condition = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body=b""):
                self.send_response(outer.status or status)
                self.send_header("Content-Length", str(len(body)))
                try:
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:  # who asked is gone
                    self.close_connection = True

            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                key = self.path.rsplit("/", 1)[1]
                with outer.condition:
                    outer.puts.append((key, body))
                    if outer.status is None:
                        outer.packets[key] = body
                    outer.condition.notify_all()
                self.answer(204)

            def do_GET(self):
                key = self.path.rsplit("/", 1)[1]
                with outer.condition:
                    outer.gets.append(key)
                    outer.condition.notify_all()
                self.answer(200, outer.packets[key]) if key in outer.packets else self.answer(404)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.pkarr = "http://127.0.0.1:%d/pkarr" % self.http.server_address[1]
        self.dns = "127.0.0.1:%d" % self.udp.getsockname()[1]
        for target in (self.http.serve_forever, self.serve_dns):
            threading.Thread(target=target, daemon=True).start()

    def serve_dns(self):
        try:
            while True:
                query, sender = self.udp.recvfrom(4096)
                self.udp.sendto(self.answer_dns(query), sender)
        except OSError:
            pass

    def answer_dns(self, query):
        labels, at = [], 12
        while query[at] != 0:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question = query[12:at + 5]
        with self.condition:
            self.queries.append(".".join(labels))
            self.condition.notify_all()
        records = []
        if labels[0] == "_iroh" and ".".join(labels[2:]) == ORIGIN and labels[1] in self.packets:
            records = texts(self.packets[labels[1]])
        answers = b"".join(struct.pack(">HHHIH", 0xC00C, 16, 1, 1, len(text)) + text for text in records)
        flags = 0x8400 | (0 if records else 3)
        return query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question + answers

    def until(self, what, limit=60):
        """Waits until what(self) is true."""
        with self.condition:
            assert self.condition.wait_for(lambda: what(self), limit), (self.puts, self.gets, self.queries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
        self.udp.close()
