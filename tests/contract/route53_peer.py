"""Route 53 for tests: moto behind a proxy that is as strict as Route 53 is and moto is not.

Known of Route 53 and asked of the proxy: CREATE of what exists, DELETE of what is otherwise, and an
alias beside anything are refused (InvalidChangeBatch), and the batch with them; a change is PENDING
for a while, an unknown one NoSuchChange.
"""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import boto3
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from controlplane.domain.dns import RecordType
from controlplane.ports import Turns
from controlplane_dns.route53 import Route53
from controlplane_dns.route53_talk import Talk, once
from tests.http_proxy import Fault, HttpProxy, Request

_XMLNS = "https://route53.amazonaws.com/doc/2013-04-01/"
_CHANGE_ID = re.compile(rb"/change/([A-Z0-9]+)<")
SECRET = "wJalrXUtnFEMI/owl"  # noqa: S105  nobody's
_making = threading.Lock()
Sets = dict[tuple[str, str], tuple[str, tuple[str, ...]]]


def refusal(code: str, message: str = "Rate exceeded") -> bytes:
    """The body of an answer that says no."""
    return (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{_XMLNS}"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{message}</Message></Error>"
        "<RequestId>b25f48e8</RequestId></ErrorResponse>"
    ).encode()


class Front(HttpProxy):
    """A change stays PENDING for the first `pending` questions about it. `admits` says of each
    request whether it comes at an allowed time."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.pending = 0
        self._asked: dict[bytes, int] = {}
        self._one_by_one = asyncio.Lock()

    def admits(self, request: Request) -> bool:
        return bool(request)

    def changed(self, _sets: Sets) -> None:
        """Called with all sets of the zone after a change."""

    async def _forward(self, request: Request) -> bytes:
        if not self.admits(request):
            return spelled(400, refusal("Throttling"))
        if request.method == "GET" and "/change/" in request.target:
            return await self._change(request)
        if request.method != "POST" or not request.target.rstrip("/").endswith("/rrset"):
            return await super()._forward(request)
        async with self._one_by_one:
            sets = await self._sets(request)
            faults = _faults(request.body, sets)
            if faults:
                return spelled(400, refusal("InvalidChangeBatch", f"[{', '.join(faults)}]"))
            # moto refuses what was created once and has been deleted since.
            body = request.body.replace(b">CREATE<", b">UPSERT<")
            answer = await super()._forward(request._replace(body=body))
            if not _CHANGE_ID.search(answer):
                return answer
            self.changed(sets)
        # moto calls all changes the same.
        change = b"C%012d" % len(self._asked)
        self._asked[change] = 0
        if self.pending:
            answer = answer.replace(b"INSYNC", b"PENDING")
        return measured(_CHANGE_ID.sub(b"/change/%s<" % change, answer))

    async def _change(self, request: Request) -> bytes:
        change = request.target.rpartition("/")[2].encode()
        if change not in self._asked:
            return spelled(404, refusal("NoSuchChange", "There is no such change."))
        self._asked[change] += 1
        answer = await super()._forward(request)
        if self._asked[change] <= self.pending:
            answer = answer.replace(b"INSYNC", b"PENDING")
        return measured(answer)

    async def _sets(self, request: Request) -> Sets:
        # By whom a request is signed says to moto which service is meant.
        signed = {"Authorization": request.headers["authorization"]}
        found: Sets = {}
        url, start = request.target.rstrip("/"), ""
        while True:
            tree = _tree((await self._client.get(f"{url}?{start}", headers=signed)).content)
            found.update(_set(one) for one in tree.iter("ResourceRecordSet"))
            if tree.findtext("IsTruncated").lower() == "false":
                return found
            start = f"name={tree.findtext('NextRecordName')}&type={tree.findtext('NextRecordType')}"


def _faults(body: bytes, sets: Sets) -> list[str]:
    """Why Route 53 would not apply the batch."""
    found = []
    for change in _tree(body).iter("Change"):
        key, content = _set(change)
        named = f"[name='{key[0]}', type='{key[1]}']"
        if change.findtext("Action") == "DELETE":
            if key not in sets:
                found.append(f"Tried to delete resource record set {named} but it was not found")
            elif sets[key] != content:
                found.append(
                    f"Tried to delete resource record set {named} but the values provided do not "
                    "match the current values"
                )
            sets.pop(key, None)
            continue
        others = {kind for name, kind in sets if name == key[0]}
        if key in sets:
            found.append(f"Tried to create resource record set {named} but it already exists")
        elif others and "CNAME" in {*others, key[1]}:
            found.append(
                f"RRSet of type {key[1]} with DNS name {key[0]} is not permitted as it conflicts "
                "with other records with the same DNS name"
            )
        sets[key] = content
    return found


def _set(element: Any) -> tuple[tuple[str, str], tuple[str, tuple[str, ...]]]:
    values = tuple(sorted(value.text for value in element.iter("Value")))
    key = next(element.iter("Name")).text, next(element.iter("Type")).text
    return key, (next(element.iter("TTL")).text, values)


def _tree(body: bytes) -> Any:
    return ET.fromstring(re.sub(rb' xmlns="[^"]*"', b"", body))  # noqa: S314  our own


def measured(answer: bytes) -> bytes:
    """PENDING is a letter longer than INSYNC."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = b"Content-Length: %d" % len(body)
    return re.sub(rb"(?i)content-length: \d+", length, head) + b"\r\n\r\n" + body


def spelled(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nContent-Type: text/xml\r\n\r\n"
    return head.encode() + body


class Route53Peer:
    """A new hosted zone at moto, behind the proxy."""

    def __init__(self, moto: str, front: Front, zone: str) -> None:
        self.front = front
        self._domain = zone
        self._moto = client(moto)
        zones = self._moto.create_hosted_zone(Name=zone, CallerReference=uuid4().hex)
        self.zone_id: str = zones["HostedZone"]["Id"].rpartition("/")[2]
        self._opened: list[Route53] = []
        self._dns = self.another()

    @property
    def dns(self) -> Route53:
        return self._dns

    def another(self, *, turns: Turns | None = None, timeout_s: float = 60) -> Route53:
        talk = Talk(lambda: client(self.front.url, timeout_s=timeout_s))
        opened = Route53(talk, zone_id=self.zone_id, domain=self._domain, turns=turns)
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        self._moto.close()

    def place(self, name: str, kind: str, *values: str, ttl: int = 300) -> None:
        told = [{"Value": value} for value in values]
        host = f"{name}.{self._domain}."
        one = {"Name": host, "Type": kind, "TTL": ttl, "ResourceRecords": told}
        self.apply({"Action": "UPSERT", "ResourceRecordSet": one})

    def apply(self, *changes: Any) -> None:
        """Changes the zone past the proxy."""
        self._moto.change_resource_record_sets(
            HostedZoneId=self.zone_id, ChangeBatch={"Changes": list(changes)}
        )

    def place_foreign(self, name: str, kind: RecordType, value: str) -> None:
        self.place(name, kind, value)

    def world(self) -> list[Any]:
        listed = self._moto.list_resource_record_sets(HostedZoneId=self.zone_id, MaxItems="300")
        sets: list[Any] = listed["ResourceRecordSets"]
        return sets

    async def cut_off(self) -> None:
        self.front.faults = [Fault(503, times=1_000)]

    async def restore(self) -> None:
        self.front.faults = []

    def lose_request(self) -> None:
        self.front.faults = [Fault(503, method="POST")]

    def lose_answer(self) -> None:
        self.front.faults = [Fault(500, method="POST", after_effect=True)]

    def throttle(self, *, retry_after_s: float) -> None:
        headers = {"Retry-After": f"{retry_after_s:.0f}"}
        self.front.faults = [Fault(400, headers=headers, body=refusal("Throttling"))]


def client(url: str, *, timeout_s: float = 60) -> Any:
    """As the provider makes one, but with keys of its own instead of the machine's."""
    with _making:
        return _session().client("route53", config=once(timeout_s), endpoint_url=url)


@cache
def _session() -> Any:
    """Each reads megabytes of descriptions anew."""
    return boto3.session.Session(
        aws_access_key_id="AKIAOWL", aws_secret_access_key=SECRET, region_name="us-east-1"
    )


@contextmanager
def running_moto() -> Iterator[str]:
    """The URL of an AWS in memory."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@asynccontextmanager
async def route53_peer(moto: str, zone: str) -> AsyncIterator[Route53Peer]:
    async with Front(moto) as front:
        peer = Route53Peer(moto, front, zone)
        try:
            yield peer
        finally:
            peer.close()
