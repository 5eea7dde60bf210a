"""How a host may be spelt, and by what else a request may be thought to say whose it is."""

SPELLINGS = {
    (200, "acme"): [
        *("acme.example.test", "ACME.example.test", "aCmE.EXAMPLE.Test", "acme.example.test."),
        *("acme.example.test:443", "acme.example.test.:8080", "acme.example.test:"),
    ],
    (404, None): [
        *("example.test", "example.test.", "test", "localhost", "acme", "acme.test"),
        *("globex.acme.example.test", "acme.globex.example.test", "www.acme.example.test"),
        *("acmeexample.test", "acme-example.test", "acme.example.test.evil.test"),
        *("acme.notexample.test", "acme.xample.test", "acme.example.testing", "acme.example.tes"),
        *("acme2.example.test", "xn--acme-9bb.example.test", "xn--acme.example.test"),
        *("127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:443", "[::ffff:127.0.0.1]:80", "0x7f.1"),
    ],
    (400, None): [
        *("", " ", "acme.example.test ", " acme.example.test", "acme .example.test"),
        *("acme.example.test:x", "acme.example.test:80:80", "acme.example.test:999999"),
        *("acme..example.test", ".acme.example.test", "acme.example.test..", "-acme.example.test"),
        *("acme.example.test,globex.example.test", "acme.example.test, globex.example.test"),
        *(
            "acme.example.test/globex",
            "globex.example.test@acme.example.test",
            "a%63me.example.test",
        ),
        *("acme.example.test#globex", "acme.example.test?x=globex", "acme\\.example.test"),
        *(
            "acme\0.example.test",
            "acme.example.test\0",
            "acme\r\n.example.test",
            "acme\t.example.test",
        ),
        *(
            "[acme.example.test]",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1%25eth0]",
            "acme.example.test[::1]",
        ),
        *("\u0430cme.example.test", "\uff41cme.example.test", "acme\u3002example.test"),
        *("\u212aelvin.example.test", "acm\u00e9.example.test", "a" * 300 + ".example.test"),
        *(
            "_acme.example.test",
            "acme_.example.test",
            "*.example.test",
            "'; DROP TABLE x.example.test",
        ),
    ],
}
FORWARDED = [
    (b"x-forwarded-host", b"globex.example.test"),
    (b"x-original-host", b"globex.example.test"),
    (b"x-host", b"globex.example.test"),
    (b"forwarded", b"for=10.0.0.1;host=globex.example.test"),
    (b"x-forwarded-for", b"10.0.0.1"),
    (b"x-real-ip", b"10.0.0.1"),
    (b"x-original-url", b"http://globex.example.test/roles"),
    (b"x-forwarded-server", b"globex.example.test"),
    (b"cookie", b"tenant=globex; tenant_id=globex; host=globex.example.test"),
    (b"origin", b"https://globex.example.test"),
    (b"referer", b"https://globex.example.test/"),
    (b"x-tenant", b"globex"),
    (b"x-tenant-name", b"globex"),
    (b"x-http-host-override", b"globex.example.test"),
]
