#!/usr/bin/env python3
"""Holds port 5353 as a responder of the system does (shared, member of both groups on each interface), and prints what it hears:
`INTERFACE SOURCE HEX`, a line for each message, until standard input ends. Each line of that is a message in hex, which is sent to both
groups on each interface."""
import select, socket, struct, sys

PORT, V4, V6 = 5353, "224.0.0.251", "ff02::fb"
IP_PKTINFO = 8  # socket.IP_PKTINFO since Python 3.14


def open_sockets():
    four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for sock in (four, six):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    four.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    four.bind(("", PORT))
    six.bind(("::", PORT))
    for index, _ in socket.if_nameindex():
        for sock, level, option, request in (
                (four, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4si", socket.inet_aton(V4), b"\0" * 4, index)),
                (six, socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, V6) + struct.pack("I", index))):
            try:
                sock.setsockopt(level, option, request)
            except OSError:
                pass  # an interface without this family
    return four, six


def say(four, six, message):
    for index, _ in socket.if_nameindex():
        for sock, level, option, request, where in (
                (four, socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", b"\0" * 4, b"\0" * 4, index), (V4, PORT)),
                (six, socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, struct.pack("i", index), (V6, PORT, 0, index))):
            try:
                sock.setsockopt(level, option, request)
                sock.sendto(message, where)
            except OSError:
                pass  # the same


def main():
    sockets = open_sockets()
    print("READY", flush=True)
    while True:
        for ready in select.select([*sockets, sys.stdin], [], [])[0]:
            if ready is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    return
                say(*sockets, bytes.fromhex(line))
                continue
            data, control, _, source = ready.recvmsg(9000, 256)
            index = 0
            for level, _, content in control:
                index = struct.unpack_from("i", content, 0 if level == socket.IPPROTO_IP else 16)[0]
            print(socket.if_indextoname(index) if index else "-", source[0], data.hex(), flush=True)


if __name__ == "__main__":
    main()
