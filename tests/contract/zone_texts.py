"""A zone file's head, and lines of others in it."""

from uuid import UUID

from controlplane.domain.naming import Mark

ACME = Mark(UUID(int=0xA), UUID(int=1), UUID(int=101))
GLOBEX = Mark(UUID(int=0xA), UUID(int=2), UUID(int=201))
HEAD = """\
$ORIGIN example.com.
$TTL 300
@ IN SOA ns1 hostmaster (
    2026010199 ; a serial by date, (with a parenthesis in its comment
    3600 600
    604800 60 )
@ IN NS ns1
ns1 IN A 127.0.0.1
"""
BUMPED = HEAD.replace("2026010199", "2026010200")
FOREIGN = [
    "acme-2 IN A 192.0.2.1",
    "x.acme IN A 192.0.2.1",
    "* IN A 192.0.2.1",
    "acme.example.net. IN A 192.0.2.1 ; outside, ignored by servers",
    'web IN TXT "acme IN A 192.0.2.1 ; not a record"',
    'web IN TXT ( ; acme\n  acme\n\n  "two" )',
    "web IN A 192.0.2.1\n    IN AAAA 2001:db8::1",
    "; acme 300 IN A 192.0.2.10",
    f"; {ACME}",
    "",
    "   ; indented",
    'caf\xe9 IN TXT "\x85\xa0\x0b\x1e"',
    "web\tIN\tA\t192.0.2.2\r",
    f"globex 300 IN A 192.0.2.10 ; {GLOBEX}",
    "$TTL 60",
    "$INCLUDE other.zone other.example.com.",
    "$ORIGIN sub.example.com.\nacme IN A 192.0.2.1\n$ORIGIN example.com.",
    "$GENERATE 1-9 acme$ IN A 192.0.2.$",
]
