"""Asking servers that answer lookups: dig, HTTP, signed packets."""
import http.client

from servers import *
from signed_packets import payload, texts, z32


class Lookups:
    """What one asks a server that answers lookups."""

    def dig(self, *words):
        """What dig prints: the status, and the records of answer and authority."""
        if not shutil.which("dig"):
            raise Skip("dig is not installed")
        done = subprocess.run(["dig", "@127.0.0.1", "-p", str(self.port("dns")), "+tries=1", "+timeout=10", "+norecurse", *words], capture_output=True, text=True)
        assert done.returncode == 0 and not re.search(r"warning|malformed|Got bad|extra bytes|mismatch", done.stdout + done.stderr, re.I), done.stdout
        return done.stdout

    def open(self, path, data=None, method=None, headers={}, kind="http", tls=None):
        """(status, headers, body)"""
        connection = (http.client.HTTPSConnection("localhost", self.port(kind), timeout=20, context=tls) if tls else
                      http.client.HTTPConnection("127.0.0.1", self.port(kind), timeout=20))
        try:
            connection.request(method or ("GET" if data is None else "PUT"), path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def put(self, key, *values, time_us=None, headers={}):
        return self.open("/pkarr/" + z32(key.public), payload(key, texts(key, *values), time_us), headers=headers)[0]
