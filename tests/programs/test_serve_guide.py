#!/usr/bin/env python3
"""Every command of doc/serve.md. TAP lines."""
from guide_shell import Guide

Guide("serve.md", "serve", {0: r'--relay http://127\.0\.0\.1:3340 (?s:.*)"status":"ok"', 1: "the configuration is fine",
                            2: "a new certificate for net.example.com is in use", 3: '"status":"ok"', 5: r"relay +https://net\.example\.com/(?s:.*)by its id",
                            6: r"dns:net\.example\.com.*\n +relay +https://net\.example\.com/", 7: r"accepts_total [1-9]\d*\ndns_server_pkarr_publish_update_total [1-9]",
                            8: "the new configuration is in effect", 10: r"--relay https://203\.0\.113\.10 .*--dns-server 203\.0\.113\.10:53(?s:.*)BEGIN CERTIFICATE",
                            11: "without a name"},
      address="203.0.113.10/32", hosts="127.0.0.1 localhost\n203.0.113.10 net.example.com\n::1 localhost\n").run()
