#!/usr/bin/env python3
"""https streams (src/tls/stream.h) over real TCP against OpenSSL (its program and Python's ssl) and GnuTLS's programs, both ways
round. Prints TAP lines."""
import os, re, shutil, socket, ssl, subprocess, tempfile, threading

from peers import BIN, Tap

ECHO = os.path.join(BIN, "tls-echo")
LIMIT = 60
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


class Server:
    """tls-echo as a server, until end()."""

    def __init__(self, directory, *words):
        self.process = subprocess.Popen([ECHO, "serve", directory, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def end(self):
        output, _ = self.process.communicate("", timeout=LIMIT)
        return output


def client_context(directory, version=None, alpns=None):
    context = ssl.create_default_context(cafile=os.path.join(directory, "ca.pem"))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if alpns:
        context.set_alpn_protocols(alpns)
    return context


def echo_through(directory, port, name, size, version=None):
    """Sends `size` bytes and takes them back at the same time; ends in order. The bytes were right, and the end was proper."""
    data = os.urandom(size)
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as tcp:
        with client_context(directory, version).wrap_socket(tcp, server_hostname=name) as tls:
            got, at = b"", 0
            while at < size: # one thread may not read and write one ssl object at once: by turns
                tls.sendall(data[at:at + 20000])
                at = min(at + 20000, size)
                while len(got) < at:
                    got += tls.recv(65536)
            tls.unwrap() # raises without close_notify from the other side
            return got == data


def s_client(directory, port, option, letter, said):
    """OpenSSL's client gives itself the command `letter`, which it reads only if the line comes alone, then sends "hello". Returns
    what it says after it has said `said`, until "hello" comes back or the connection ends."""
    client = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, "-CAfile", os.path.join(directory, "ca.pem"), option],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    clock = threading.Timer(LIMIT, client.kill)
    clock.start()
    output, is_said = "", False
    try:
        client.stdin.write(letter + "\n")
        client.stdin.flush()
        for line in client.stdout:
            if is_said:
                output += line
            if line.strip() == said:
                is_said = True
                client.stdin.write("hello\n")
                client.stdin.flush()
            if "hello" in output:
                break
    except BrokenPipeError:
        pass
    finally:
        client.kill()
        client.wait(LIMIT)
        clock.cancel()
    return output


def kith_serves_openssl(tap, directory):
    server = Server(directory)
    for text, version in VERSIONS.items():
        for name in ("relay.test", "127.0.0.1"):
            tap.report(echo_through(directory, server.port, name, 1000000, version), "OpenSSL -> kith: %s, %s" % (text, name))
    try:
        echo_through(directory, server.port, "other.test", 10)
        refused = False
    except ssl.SSLCertVerificationError:
        refused = True
    tap.report(refused, "OpenSSL -> kith: the certificate is not for another name")
    for name, letter, said, option in (("renegotiation is refused", "R", "RENEGOTIATING", "-tls1_2"), ("a key update", "K", "KEYUPDATE", "-tls1_3")):
        output = s_client(directory, server.port, option, letter, said)
        tap.report(("hello" in output) == (letter == "K"), "OpenSSL -> kith: %s" % name, output)
    output = server.end()
    tap.report(output.count("OPEN TLS 1.2") >= 3 and output.count("OPEN TLS 1.3") >= 3 and output.count("END 1000000") == 4,
               "OpenSSL -> kith: the server saw the same", output)


def kith_exports_as_openssl(tap, directory):
    """In TLS 1.3 no context and an empty one are the same, and s_client can do without one only."""
    server = Server(directory)
    done = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % server.port, "-tls1_3", "-keymatexport", "EXPORTER-kith-test",
                           "-keymatexportlen", "16"], input="", capture_output=True, text=True, timeout=LIMIT)
    output = server.end()
    found = re.search(r"Keying material: ([0-9A-F]{32})", done.stdout)
    tap.report(found is not None and found.group(1) in output, "OpenSSL -> kith: both export the same", output + done.stdout[-500:])


def kith_answers_challenges(tap, directory):
    server = Server(directory, "relay.test")
    results = []
    for name in ("relay.test", "other.test"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as tcp, \
                    context.wrap_socket(tcp, server_hostname=name) as tls:
                # id-pe-acmeIdentifier, critical, with an OCTET STRING of 32 bytes
                results.append((tls.selected_alpn_protocol(), bytes.fromhex("06082b0601050507011f0101ff042204 20".replace(" ", "")) in tls.getpeercert(True)))
        except ssl.SSLError as error:
            results.append(str(error).lower())
    output = server.end()
    tap.report(results[0] == ("acme-tls/1", True) and "no application protocol" in str(results[1]).replace("_", " ") and "challenge" in output,
               "OpenSSL -> kith: acme-tls/1 is answered for the name that waits, and for no other", "%s %s" % (results, output))


def kith_dials_openssl(tap, directory):
    for text, version in VERSIONS.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem"))
        context.minimum_version = context.maximum_version = version
        with socket.create_server(("127.0.0.1", 0)) as listener:
            seen = {}

            def serve():
                tcp, _ = listener.accept()
                try:
                    tls = context.wrap_socket(tcp, server_side=True)
                    seen["alpn"] = tls.selected_alpn_protocol()
                    while True:
                        data = tls.recv(65536)
                        if not data:
                            break
                        tls.sendall(data)
                    tls.unwrap().close()
                except (ssl.SSLError, OSError) as error:
                    seen["error"] = str(error)

            thread = threading.Thread(target=serve)
            thread.start()
            done = subprocess.run([ECHO, "dial", str(listener.getsockname()[1]), "127.0.0.1", os.path.join(directory, "ca.pem"), "1000000"],
                                  capture_output=True, text=True, timeout=LIMIT)
            thread.join(LIMIT)
            tap.report(done.returncode == 0 and "OPEN " + text in done.stdout and "END 1000000" in done.stdout and seen == {"alpn": None},
                       "kith -> OpenSSL: %s" % text, "%s%s %s" % (done.stdout, done.stderr, seen))


def kith_meets_gnutls(tap, directory):
    if not shutil.which("gnutls-cli") or not shutil.which("gnutls-serv"):
        tap.skip("GnuTLS's programs", "not installed: gnutls-bin")
        return
    server = Server(directory)
    for priority in ("NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL", "NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305", "NORMAL:-CIPHER-ALL:+AES-256-GCM"):
        done = subprocess.run(["gnutls-cli", "--x509cafile", os.path.join(directory, "ca.pem"), "--sni-hostname", "relay.test", "--verify-hostname",
                               "relay.test", "--priority", priority, "--port", str(server.port), "127.0.0.1"], input="hello\n",
                              capture_output=True, text=True, timeout=LIMIT)
        tap.report(done.returncode == 0 and "Handshake was completed" in done.stdout, "GnuTLS -> kith: %s" % priority, done.stdout[-800:] + done.stderr)
    output = server.end()
    tap.report(output.count("END 6") == 4, "GnuTLS -> kith: the server saw the same", output)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serv = subprocess.Popen(["gnutls-serv", "--echo", "--port", str(port), "--x509certfile", os.path.join(directory, "cert.pem"), "--x509keyfile",
                             os.path.join(directory, "key.pem")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in serv.stdout: # "Echo Server listening on ..."
            if "listening" in line:
                break
        done = subprocess.run([ECHO, "dial", str(port), "relay.test.", os.path.join(directory, "ca.pem"), "0"], capture_output=True, text=True, timeout=LIMIT)
        refused = subprocess.run([ECHO, "dial", str(port), "other.test", os.path.join(directory, "ca.pem"), "0"], capture_output=True, text=True, timeout=LIMIT)
    finally:
        serv.terminate()
        serv.wait(LIMIT)
    tap.report("OPEN TLS 1.3" in done.stdout, "kith -> GnuTLS: a name with a trailing dot", done.stdout + done.stderr)
    tap.report("FAILED the server's certificate is for another name bad_certificate" in refused.stdout and refused.returncode == 1,
               "kith -> GnuTLS: a certificate for another name is refused, in words", refused.stdout + refused.stderr)


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([ECHO, "make", directory, "relay.test", "127.0.0.1", "::1"], check=True, timeout=LIMIT)
        kith_serves_openssl(tap, directory)
        kith_exports_as_openssl(tap, directory)
        kith_answers_challenges(tap, directory)
        kith_dials_openssl(tap, directory)
        kith_meets_gnutls(tap, directory)
    tap.end()


if __name__ == "__main__":
    main()
