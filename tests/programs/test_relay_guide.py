#!/usr/bin/env python3
"""Every command of doc/relay.md, where relay.example.com is this machine. TAP lines."""
from guide_shell import Guide

Guide("relay.md", "relay", {0: '"status":"ok"', 2: "the configuration is fine", 3: "a new certificate for relay.example.com is in use", 4: '"status":"ok"',
                            5: "through the relay", 6: r"relayserver_accepts_total [1-9]", 7: "the new configuration is in effect"},
      hosts="127.0.0.1 localhost relay.example.com\n::1 localhost\n").run()
