"""A relay client byte by byte, for what no real client does: WebSocket, handshake and frames written out. Ed25519 is libsodium's."""
import base64, ctypes, ctypes.util, hashlib, os, resource, socket, ssl, struct

CHALLENGE, AUTH, CONFIRM, DENY, SEND, SEND_BATCH, RECEIVE, RECEIVE_BATCH, GONE, PING, PONG, HEALTH, RESTARTING, STATUS = range(14)
HEALTHY, SAME_ID, RATE_LIMITED = range(3)
BOTH_VERSIONS = "iroh-relay-v2, iroh-relay-v1"
CONTEXT = b"iroh-relay handshake v1 challenge signature"


def allow_descriptors(count):
    """Sockets by the thousand: a login has 1,024 descriptors, and may have more when it asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def sodium():
    name = ctypes.util.find_library("sodium")
    library = ctypes.CDLL(name) if name else None
    if library is not None and library.sodium_init() < 0:
        library = None
    return library


SODIUM = sodium()


def _compress(chaining, block, size, flags):
    """BLAKE3, one compression; the first eight words."""
    iv = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
    state = list(chaining) + list(iv[:4]) + [0, 0, size, flags]
    words = list(struct.unpack("<16I", block.ljust(64, b"\0")))

    def mix(a, b, c, d, x, y):
        for word, right, left in ((x, 16, 12), (y, 8, 7)):
            state[a] = (state[a] + state[b] + word) & 0xFFFFFFFF
            state[d] ^= state[a]
            state[d] = (state[d] >> right | state[d] << (32 - right)) & 0xFFFFFFFF
            state[c] = (state[c] + state[d]) & 0xFFFFFFFF
            state[b] ^= state[c]
            state[b] = (state[b] >> left | state[b] << (32 - left)) & 0xFFFFFFFF

    for _ in range(7):
        for i, lane in enumerate(((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12),
                                  (2, 7, 8, 13), (3, 4, 9, 14))):
            mix(*lane, words[2 * i], words[2 * i + 1])
        words = [words[i] for i in (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)]
    return [state[i] ^ state[i + 8] for i in range(8)]


def blake3_derive(context, material):
    """derive_key for a context and a material of at most 64 bytes each."""
    iv = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
    whole = 1 | 2 | 8  # first block, last block, root
    key = _compress(iv, context, len(context), whole | 32)
    return struct.pack("<8I", *_compress(key, material, len(material), whole | 64))


class Key:
    def __init__(self, seed=None):
        self.seed = seed or os.urandom(32)
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        SODIUM.crypto_sign_seed_keypair(public, secret, self.seed)
        self.public, self.secret = public.raw, secret.raw

    def sign(self, message):
        signature = ctypes.create_string_buffer(64)
        SODIUM.crypto_sign_detached(signature, None, message, ctypes.c_ulonglong(len(message)), self.secret)
        return signature.raw


class Closed(Exception):
    """The relay ended the connection."""


def head_of(data):
    """(status, headers with lower-case names) of an HTTP response's head."""
    lines = data.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name:
            headers[name.strip().lower()] = value.strip()
    return int(lines[0].split()[1]), headers


def request(port, method, path, headers=(), tls=None, limit=10):
    """(status, headers, body) of one request."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=limit)
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname="localhost")
    with sock:
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: localhost", "Connection: close", *("%s: %s" % pair for pair in headers), "", ""]
        sock.sendall("\r\n".join(lines).encode())
        data = b""
        while True:
            part = sock.recv(65536)
            if not part:
                break
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    status, headers = head_of(head)
    return status, headers, body


class RawRelay:
    """One connection to a relay. `upgrade` first, then `authenticate`, then frames."""

    def __init__(self, port, tls=None, limit=10, source="127.0.0.1"):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=limit, source_address=(source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.buffer, self.key, self.pongs = b"", None, []

    def upgrade(self, protocols=BOTH_VERSIONS, path="/relay", headers=(), change=None):
        """Sends the request, returns (status, headers). `change` maps a header name to another value, or None to leave it out."""
        nonce = base64.b64encode(os.urandom(16)).decode()
        fields = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": nonce, "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Protocol": protocols}
        fields.update(change or {})
        lines = ["GET %s HTTP/1.1" % path] + ["%s: %s" % pair for pair in fields.items() if pair[1] is not None]
        lines += ["%s: %s" % pair for pair in headers] + ["", ""]
        self.sock.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status, answer = head_of(head)
        if status == 101:
            digest = hashlib.sha1(nonce.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            answer["accept-is-right"] = answer.get("sec-websocket-accept") == base64.b64encode(digest).decode()
        return status, answer

    def authenticate(self, key, signature=None):
        """Answers the challenge; the frame with the verdict."""
        self.key = key
        challenge = self.receive()
        if challenge[:1] != bytes([CHALLENGE]) or len(challenge) != 17:
            raise Closed("no challenge but %s" % challenge.hex())
        self.send(bytes([AUTH]) + key.public + b"\x40" + (signature or key.sign(blake3_derive(CONTEXT, challenge[1:]))))
        return self.receive()

    def send(self, frame):
        self.send_message(0x82, frame)

    def send_message(self, first, payload):
        """One WebSocket frame with this first byte, masked."""
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([first, 0x80 | size]) if size < 126 else bytes([first, 0x80 | 126]) + struct.pack(">H", size) if size < 65536 \
            else bytes([first, 0x80 | 127]) + struct.pack(">Q", size)
        masked = (int.from_bytes(payload, "little") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "little")).to_bytes(size, "little")
        self.sock.sendall(head + mask + masked)

    def receive(self, limit=10):
        """The next relay frame. Raises Closed at the end, socket.timeout when nothing comes."""
        while True:
            opcode, payload = self.receive_message(limit)
            if opcode == 2:
                return payload
            if opcode == 8:
                raise Closed("WebSocket close " + payload.hex())
            if opcode == 10:
                self.pongs.append(payload)

    def receive_message(self, limit=10):
        self.sock.settimeout(limit)
        head = self._take(2)
        size = head[1] & 0x7F
        if head[1] & 0x80:
            raise Closed("a masked frame from the server")
        if size == 126:
            size = struct.unpack(">H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._take(8))[0]
        return head[0] & 15, self._take(size)

    def expect(self, *types, limit=10):
        """The next frame of one of these types; server pings are answered on the way, other frames skipped."""
        while True:
            frame = self.receive(limit)
            if frame[0] in types:
                return frame
            if frame[0] == PING:
                self.send(bytes([PONG]) + frame[1:])

    def datagram(self, to, payload, ecn=0):
        self.send(bytes([SEND]) + to + bytes([ecn]) + payload)

    def batch(self, to, segment, payload, ecn=0):
        self.send(bytes([SEND_BATCH]) + to + bytes([ecn]) + struct.pack(">H", segment) + payload)

    def ping(self, payload=b"kithping"):
        """A ping and its pong: everything sent before was taken."""
        self.send(bytes([PING]) + payload)
        return self.expect(PONG) == bytes([PONG]) + payload

    def is_closed(self, limit=10):
        """Reads on until the relay ends the connection; False when it is still open after so long."""
        try:
            while True:
                self.receive(limit)
        except (Closed, ConnectionError, ssl.SSLError):
            return True
        except (socket.timeout, TimeoutError):
            return False

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _take(self, size):
        while len(self.buffer) < size:
            self._more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _more(self):
        part = self.sock.recv(1 << 16)
        if not part:
            raise Closed("end of the stream")
        self.buffer += part


def connected(port, key=None, protocols=BOTH_VERSIONS, tls=None, path="/relay", headers=(), source="127.0.0.1"):
    """An authenticated connection; Closed with the reason if the relay does not want it."""
    relay = RawRelay(port, tls, source=source)
    status, _ = relay.upgrade(protocols, path, headers)
    if status != 101:
        raise Closed("status %d" % status)
    verdict = relay.authenticate(key or Key())
    if verdict[:1] != bytes([CONFIRM]):
        raise Closed("denied: " + verdict[2:].decode(errors="replace"))
    return relay
