#!/usr/bin/env python3
"""Every command of doc/lookup.md, on a machine that asks its own new server for names, as does the certificate authority: the zone is
what leads both to it. TAP lines."""
from guide_shell import Guide

Guide("lookup.md", "dns", {0: r'"status":"ok".*SOA\s+irohdns\.example\.', 1: "the configuration is fine", 2: "a new certificate for dns.example.com is in use",
                           3: r'^ns1\.dns\.example\.com\.\n203\.0\.113\.10\n(?s:.*)"status":"ok"', 4: r"dns:dns\.example\.com(?s:.*)address +(?s:.*)by its id",
                           5: r"dns_server_dns_lookup_success_total [1-9]\d*\ndns_server_cache_zones 1\n", 6: "the new configuration is in effect"},
      address="203.0.113.10/32", resolver=True, needs=("dig",)).run()
