"""The middleware for WSGI: from a request to its tenant's scope, or to a refusal."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, Protocol, TypeVar
from urllib.parse import quote
from uuid import UUID

from controlplane.domain.problems import problem, problem_headers
from controlplane.errors import ControlPlaneError, TenantUnavailable
from controlplane.routing import moved
from controlplane.routing.answers import admitted
from controlplane.routing.moved import Network, parse_networks
from controlplane.routing.resolve import Asked, HostName, Named, Resolver, Whose, agree, whose
from controlplane.routing.revisions import Serves, refuse_unserved
from controlplane.routing.tenant import RoutedTenant, scoped_context
from controlplane.routing.violations import EARS, Ears, Violated, unheard

_T = TypeVar("_T")
Environ = dict[str, Any]
# Any: frameworks add what they like.
StartResponse = Callable[..., Any]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]


class SyncDirectory(Protocol):
    """Knows who holds a subdomain, whose own domain a host is (a name with dots), and who has an
    id. Raises TenantUnavailable where it cannot know."""

    def lookup(self, name: str, /) -> RoutedTenant | None: ...
    def identify(self, tenant_id: UUID) -> RoutedTenant | None: ...


class TenantWSGIMiddleware:
    """As TenantMiddleware, with the same answers; the tenant is in `environ["controlplane.tenant"]`
    and is `current_tenant()` until the body is closed."""

    def __init__(
        self,
        app: WSGIApp,
        *,
        directory: SyncDirectory,
        base_domain: str,
        also: Sequence[Resolver] = (),
        exempt_paths: Collection[str] = (),
        serves: Serves | None = None,
        violated: Violated = unheard,
        proxies: Iterable[str | Network] = (),
    ) -> None:
        self._app = app
        self._directory = directory
        self._host = HostName(base_domain)
        self._also = tuple(also)
        self._exempt_paths = frozenset(exempt_paths)
        self._serves = serves
        self._violated = violated
        self._proxies = parse_networks(proxies)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        asked = _asked(environ)
        environ = {k: v for k, v in environ.items() if k not in _TENANT_VARIABLES}
        if asked.path in self._exempt_paths:
            return self._app(environ, start_response)
        try:
            said, witnesses = whose(self._also, asked, first=self._at_host(asked))
            tenant = self._tenant(said)
            environ[EARS] = ears = Ears(self._violated, tenant, asked)
            with ears:
                agree(witnesses, tenant)
            refuse_unserved(tenant.revision, self._serves)
            if isinstance(said, Named) and said.prefix:
                environ = _below(environ, said.prefix)
            environ["controlplane.tenant"] = tenant
        except ControlPlaneError as error:
            return _refuse(error, environ, start_response)
        if tenant.moved_to is not None:
            return self._move(tenant.moved_to, asked, environ, start_response)
        answer = _Answer(tenant, ears, start_response)
        try:
            answer.begin(self._app, environ)
        except TenantUnavailable as error:
            if answer.started:
                raise
            answer.close()
            return _refuse(error, environ, start_response)
        return answer

    def _at_host(self, asked: Asked) -> Named | None:
        """As TenantMiddleware._at_host."""
        named = self._host(asked)
        if named is not None and named.perhaps and not self._directory.lookup(named.name):
            return None
        return named

    def _tenant(self, said: Whose) -> RoutedTenant:
        if isinstance(said, Named):
            found = self._directory.lookup(said.name)
            return admitted(found, asked_for=f"at '{said.name}'")
        return admitted(self._directory.identify(said.id), asked_for=f"with the id {said.id}")

    def _move(
        self, moved_to: str, asked: Asked, environ: Environ, start_response: StartResponse
    ) -> list[bytes]:
        path, query = _target(environ)
        to = moved.location(moved_to, asked, path=path, query=query, proxies=self._proxies)
        status = HTTPStatus(moved.STATUS)
        start_response(f"{status.value} {status.phrase}", moved.headers(to))
        return []


class _Answer:
    """What the app answers, each piece of it made in the tenant's scope."""

    def __init__(self, tenant: RoutedTenant, ears: Ears, start_response: StartResponse) -> None:
        self._ears = ears
        self._start_response = start_response
        # The thread serves others between two pieces and after a body that nobody closes.
        self._context = scoped_context(tenant)
        self._body: Iterable[bytes] = ()
        self._pieces: Iterator[bytes] = iter(())
        self._first: list[bytes] = []
        self.started = False

    def begin(self, app: WSGIApp, environ: Environ) -> None:
        """Run the app until it has said how it answers; a generator says so with its first
        piece. Raises whatever it raises."""
        self._body = self._run(app, environ, self._start)
        self._pieces = self._run(iter, self._body)
        if not self.started:
            self._first = [piece for piece in [self._run(next, self._pieces, None)] if piece]

    def _start(self, *answer: Any) -> Any:
        self.started = True
        return self._start_response(*answer)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._first.pop() if self._first else self._run(next, self._pieces)

    def close(self) -> None:
        """Part of WSGI: the server calls it whatever has happened."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._run(close)

    def _run(self, act: Callable[..., _T], *given: Any) -> _T:
        with self._ears:
            return self._context.run(act, *given)


# How WSGI spells the headers that nobody but us may set.
_TENANT_VARIABLES = frozenset({"HTTP_X_TENANT_ID", "HTTP_X_TENANT_NAME"})


def _asked(environ: Environ) -> Asked:
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), str(value).encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    return Asked(
        environ.get("HTTP_HOST", ""),
        environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
        headers,
        environ.get("REMOTE_ADDR") or None,
    )


def _target(environ: Environ) -> tuple[bytes, bytes]:
    """Path and query, as they came where the server says so: WSGI has only the decoded path."""
    told = [environ.get(name, "") for name in ("RAW_URI", "REQUEST_URI")]
    raw = next((target for target in told if target.startswith("/")), None)
    if raw is not None:
        path, _, query = raw.encode("latin-1").partition(b"?")
        return path, query
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return quote(path.encode("latin-1")).encode(), environ.get("QUERY_STRING", "").encode("latin-1")


def _below(environ: Environ, prefix: str) -> Environ:
    whole = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return {**environ, "SCRIPT_NAME": prefix, "PATH_INFO": whole[len(prefix) :]}


def _refuse(
    error: ControlPlaneError, environ: Environ, start_response: StartResponse
) -> list[bytes]:
    body = json.dumps(problem(error, instance=environ.get("PATH_INFO", ""))).encode()
    headers = [*problem_headers(error).items(), ("content-length", str(len(body)))]
    start_response(f"{error.status} {HTTPStatus(error.status).phrase}", headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]
