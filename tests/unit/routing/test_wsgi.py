"""The WSGI twin answers as the ASGI middleware does, and leaves no scope behind."""

import json
from typing import Any
from uuid import UUID
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from psycopg.errors import InsufficientPrivilege

from controlplane.domain.tenants import TenantState
from controlplane.errors import MissingTenantContext, TenantSchemaMissing, TenantUnavailable
from controlplane.routing import RoutedTenant, current_tenant
from controlplane.routing.resolve import PathPrefix, TokenClaim
from controlplane.routing.wsgi import TenantWSGIMiddleware

ACME = UUID(int=7)


class Listed:
    """A directory of one tenant for each state, its subdomain being the state's name."""

    def lookup(self, subdomain):
        if subdomain not in set(TenantState):
            return None
        return RoutedTenant(ACME, subdomain, "Acme", TenantState(subdomain), "starter", "abc")

    def identify(self, tenant_id):
        return self.lookup("active") if tenant_id == ACME else None


class Down:
    def lookup(self, _subdomain):
        raise TenantUnavailable("The tenant directory does not answer; try again.")


def _environ(host="active.example.com", **changes):
    environ = {
        "HTTP_HOST": host,
        "PATH_INFO": "/p",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
    } | changes
    setup_testing_defaults(environ)
    return environ


def _call(app, environ, **options):
    """Status, headers, body; the checker of the standard library watches both sides."""
    told: list[Any] = []
    directory = options.pop("directory", Listed())
    wrapped = validator(
        TenantWSGIMiddleware(app, directory=directory, base_domain="example.com", **options)
    )

    def start_response(status, headers, _error=None):
        told[:] = [int(status.split()[0]), dict(headers)]

    body: Any = wrapped(environ, start_response)
    try:
        content = b"".join(body)
    finally:
        body.close()
    return (*told, content)


def plain(_environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    return [current_tenant().subdomain.encode()]


def generating(_environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    yield b""
    for _ in range(2):
        yield current_tenant().subdomain.encode()


@pytest.mark.parametrize(("app", "body"), [(plain, b"active"), (generating, b"activeactive")])
def test_the_app_and_every_piece_of_its_body_are_in_the_tenants_scope(app, body):
    assert _call(app, _environ("ACTIVE.example.com:443"))[0::2] == (200, body)
    with pytest.raises(MissingTenantContext):
        current_tenant()


def test_a_body_that_nobody_closes_leaves_no_scope_in_the_thread():
    middleware = TenantWSGIMiddleware(generating, directory=Listed(), base_domain="example.com")
    body = middleware(_environ(), lambda *_: None)
    assert next(iter(body)) == b"active"
    with pytest.raises(MissingTenantContext):
        current_tenant()


@pytest.mark.parametrize(
    ("host", "status", "code", "retry_after"),
    [
        ("suspended.example.com", 403, "tenant_suspended", None),
        ("provisioning.example.com", 503, "tenant_not_ready", "2"),
        ("deleted.example.com", 404, "tenant_not_found", None),
        ("nobody.example.com", 404, "tenant_not_found", None),
        ("example.com", 404, "tenant_required", None),
        ("active.example.com.attacker.com", 404, "tenant_required", None),
        ("a b.example.com", 400, "invalid_request", None),
        ("", 400, "invalid_request", None),
    ],
)
def test_whoever_is_not_served_gets_a_problem(host, status, code, retry_after):
    answered, headers, body = _call(plain, _environ(host))
    assert (answered, json.loads(body)["code"]) == (status, code)
    assert headers["content-type"] == "application/problem+json"
    assert headers.get("retry-after") == retry_after
    assert headers["content-length"] == str(len(body))


def test_a_registry_that_does_not_answer_lets_nobody_in():
    assert _call(plain, _environ(), directory=Down())[0] == 503


def test_an_exempt_path_needs_no_tenant():
    def health(_environ, start_response):
        start_response("204 No Content", [])
        return []

    assert _call(health, _environ("whatever", PATH_INFO="/h"), exempt_paths=["/h"])[0] == 204


def test_a_clients_word_about_the_tenant_does_not_reach_the_app():
    def telling(environ, start_response):
        start_response("200 OK", [("content-type", "text/plain")])
        return [repr(sorted(k for k in environ if "TENANT" in k)).encode()]

    spoofed = _environ(HTTP_X_TENANT_ID=str(UUID(int=8)), HTTP_X_TENANT_NAME="Globex")
    assert _call(telling, spoofed)[2] == b"[]"


def test_a_token_of_another_tenant_is_refused_and_told_of():
    told = []
    status, _, body = _call(
        plain,
        _environ(),
        also=[TokenClaim(lambda _asked: UUID(int=8))],
        violated=lambda v: told.append((v.kind, v.tenant.subdomain, v.claimed)),
    )
    assert (status, json.loads(body)["code"]) == (401, "tenant_mismatch")
    assert told == [("tenant_mismatch", "active", UUID(int=8))]


def test_a_path_prefix_is_the_scripts_name():
    def telling(environ, start_response):
        start_response("200 OK", [("content-type", "text/plain")])
        return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]

    environ = _environ("localhost", PATH_INFO="/t/active/x/y")
    assert _call(telling, environ, also=[PathPrefix()])[2] == b"/t/active /x/y"


@pytest.mark.parametrize("late", [False, True])
def test_a_schema_that_is_missing_is_answered_and_told_of(late):
    def listing(_environ, _start_response):
        raise TenantSchemaMissing("gone")

    def yielding(_environ, _start_response):
        raise TenantSchemaMissing("gone")
        yield b""

    told = []
    status, _, _ = _call(
        yielding if late else listing, _environ(), violated=lambda v: told.append(v.kind)
    )
    assert (status, told) == (503, ["tenant_schema_missing"])


def test_what_the_tenants_role_was_denied_is_told_of_and_passes():
    def grabbing(_environ, start_response):
        start_response("200 OK", [("content-type", "text/plain")])
        raise InsufficientPrivilege("permission denied for schema globex")

    told = []
    with pytest.raises(InsufficientPrivilege):
        _call(grabbing, _environ(), violated=lambda v: told.append(v.kind))
    assert told == ["denied"]


@pytest.mark.parametrize(("serves", "status"), [({"abc"}, 200), ({"abd"}, 503)])
def test_a_tenant_at_a_revision_that_is_not_served_is_asked_to_come_back(serves, status):
    assert _call(plain, _environ(), serves=serves)[0] == status
