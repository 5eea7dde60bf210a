"""What no field of a request takes."""

from typing import Any

SUBDOMAINS = {
    "subdomain_invalid": [
        *("", "a", "ab", "a" * 64, "-acme", "acme-", "a_b", "a b", "a.b", "acme.", "xn--acme"),
        *("ab--cd", "acme\r\n", "acme\n", "ac\0me", "ácme", "\u212aelvin", "'; DROP TABLE tenants"),
        *("../etc", "acme%00", "<b>", "acme\u2028"),
    ],
    "subdomain_reserved": [
        *("www", "API", "admin", "app", "auth", "mail", "smtp", "ftp", "static", "cdn", "status"),
        *("health", "metrics", "localhost", "autodiscover", "mta-sts", "ns1", "ns42"),
    ],
}
LINES = [
    *("", " ", "\t", "a\r\nBcc: x@y.test", "a\nb", "a\rb", "a\0b", "a\x1bb", "a\x7fb", "a\x85b"),
    *("a\u2028b", "x" * 201),
]
ADDRESSES = [
    *("", "ada", "ada@", "@acme.test", "ada@acme", "ada@@acme.test", "a@b@acme.test"),
    *("ada@acme.test\r\nBcc: x@y.test", "ada@acme.test\n", " ada@acme.test", "ada @acme.test"),
    *("ada@acme..test", "ada@.test", "ada@-acme.test", ".ada@acme.test", "a..b@acme.test"),
    *("ada\0@acme.test", "ádá@acme.test", "ada@ácme.test", "ada@127.0.0.1", "ada@[127.0.0.1]"),
    *('"ada"@acme.test', "ada@acme.test,x@y.test", "Ada <ada@acme.test>", "a" * 65 + "@acme.test"),
    "ada@" + "a." * 125 + "test",
]
TIERS: list[Any] = ["gold", "", "Starter", "starter\n", 1, []]
NO_OBJECTS: list[Any] = [[], "x", 1, None, True]
NO_TEXTS: list[Any] = [1, None, [], {}, True]
NO_FLAGS: list[Any] = ["", "perhaps", 2, None, [], {}]


def deep(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"a": inner}
    return inner


FIELDS: list[tuple[dict[str, Any], str, str]] = [
    *(({"subdomain": s}, "/subdomain", code) for code, many in SUBDOMAINS.items() for s in many),
    *(({"name": line}, "/name", "invalid") for line in LINES),
    *(({"admin_name": line}, "/admin_name", "invalid") for line in LINES),
    *(({"admin_email": text}, "/admin_email", "email_invalid") for text in ADDRESSES),
    *(({"tier": tier}, "/tier", "invalid") for tier in TIERS),
    *(({"metadata": value}, "/metadata", "invalid") for value in NO_OBJECTS),
    ({"metadata": deep(6)}, "/metadata", "invalid"),
    ({"metadata": {"a": [[[[[]]]]]}}, "/metadata", "invalid"),
    ({"metadata": {"a": "x" * 17_000}}, "/metadata", "invalid"),
    ({"metadata": {"a": ["\0"]}}, "/metadata", "invalid"),
    ({"metadata": {"\0": 1}}, "/metadata", "invalid"),
    *(({"name": value}, "/name", "invalid") for value in NO_TEXTS),
    *(({"subdomain": value}, "/subdomain", "invalid") for value in NO_TEXTS),
    ({"admin_name": 1}, "/admin_name", "invalid"),
    ({"state": "active"}, "/state", "unknown_field"),
    ({"id": "x"}, "/id", "unknown_field"),
    ({"a/b~c": 1}, "/a~1b~0c", "unknown_field"),
]
