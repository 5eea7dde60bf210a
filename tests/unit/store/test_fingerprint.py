"""Two requests are the same only if method, path and body are."""

from controlplane.store.idempotency import fingerprint

MARK = fingerprint("POST", "/api/admin/tenants", b'{"name": "Acme"}')


def test_the_same_request_has_the_same_mark() -> None:
    assert fingerprint("POST", "/api/admin/tenants", b'{"name": "Acme"}') == MARK


def test_any_difference_shows() -> None:
    others = {
        fingerprint("PUT", "/api/admin/tenants", b'{"name": "Acme"}'),
        fingerprint("POST", "/api/admin/tenants/", b'{"name": "Acme"}'),
        fingerprint("POST", "/api/admin/tenants", b'{"name": "acme"}'),
        fingerprint("POST", "/api/admin/tenants", b'{"name": "Acme"} '),
        fingerprint("POST", "/api/admin/tenants", b""),
    }
    assert len(others) == 5
    assert MARK not in others
