"""Test only: signed packets (pkarr, BEP 44) written out by hand, Ed25519 by libsodium. Source: spec/03, 5."""
import os, struct, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop"))
from raw_relay import SODIUM, Key  # noqa: a key with sign()

ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"


def z32(key):
    bits = "".join("{:08b}".format(byte) for byte in key) + "0000"
    return "".join(ALPHABET[int(bits[at:at + 5], 2)] for at in range(0, len(bits) - len(bits) % 5, 5))


def name(*labels):
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def texts(key, *values, ttl=30, owner="_iroh"):
    """A DNS message with TXT records of OWNER.KEY."""
    records = [name(owner, z32(key.public)) + struct.pack(">HHIH", 16, 1, ttl, 1 + len(value)) + bytes([len(value)]) + value.encode() for value in values]
    return struct.pack(">HHHHHH", 0, 0x8000, 0, len(records), 0, 0) + b"".join(records)


def payload(key, message, time_us=None):
    """What is put: signature, time, message."""
    time_us = time_us if time_us is not None else time.time_ns() // 1000
    return key.sign(b"3:seqi%de1:v%d:" % (time_us, len(message)) + message) + struct.pack(">Q", time_us) + message
