"""A stand-in for the DNS part of Cloudflare's API, on a socket, with a memory.

No emulator of it exists. What it does, and where that is from (September to November 2026):

- Envelope, methods, filters (case-insensitive), pages, TTL of 60 to 86400 s or 1, "A/AAAA records
  cannot exist on the same name as CNAME records", "NS records cannot exist on the same name as any
  other record type": https://developers.cloudflare.com/api/resources/dns/subresources/records/
- Several addresses may stand at one name; who adds one is not told:
  https://github.com/cloudflare/node-cloudflare/issues/46
- 81058 "An identical record already exists.", whatever TTL and comment:
  https://github.com/jeessy2/ddns-go/issues/1378 (81057 is its older text:
  https://github.com/certbot/certbot/pull/10725)
- 81053 for an alias at a name in use: https://github.com/cloudflare/terraform-provider-cloudflare/issues/1247
- 81054 for an address at an alias: https://github.com/favonia/cloudflare-ddns/issues/990
- 81056 beside NS: https://github.com/acme-dns/acme-dns/issues/258
- 81044, a record that is not there: https://github.com/zanjie1999/cloudflare-api-v4-ddns/issues/5
- 9313, a comment of more than 100 characters (500 where the zone is paid for):
  https://github.com/STRRL/cloudflare-tunnel-ingress-controller/issues/168
- 1004 with its cause in `error_chain`: https://github.com/kubernetes-sigs/external-dns/issues/2409
- A name outside of the zone gets the zone's name appended: https://github.com/NewFuture/DDNS/issues/21
- The batch is one transaction: deletes, patches, puts, posts:
  https://developers.cloudflare.com/dns/manage-dns-records/how-to/batch-record-changes/
- 429 with code 971 and Retry-After once 1,200 requests in five minutes are used up:
  https://developers.cloudflare.com/fundamentals/api/reference/limits/
- 10000 for a token that may not, 6003 with 6111 for what is no token:
  https://github.com/libdns/cloudflare/issues/12; 7003 for a zone that is not there.
- A proxied record has the TTL 1: https://developers.cloudflare.com/dns/proxy-status/
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from tests.http_server import HttpServer, Request, spelled

ZONE_ID = "023e105f4ecef8ad9ca31a8372d0c353"
TOKEN = "a-token-of-forty-characters_nobody-knows"  # noqa: S105  opens nothing but this
_PATH = re.compile(r"/client/v4/zones/(?P<zone>[^/]+)/dns_records(?:/(?P<id>[^/]+))?")
_AS_JSON = {"Content-Type": "application/json"}
_ADDRESSES = {"A": IPv4Address, "AAAA": IPv6Address}
_TEXTS = {
    81044: "Record does not exist.",
    81053: "An A, AAAA, or CNAME record with that host already exists.",
    81054: "A CNAME record with that host already exists.",
    81056: "NS records with that host already exist.",
    81058: "An identical record already exists.",
    9007: "Content for CNAME record is invalid.",
    9005: "Content for A record must be a valid IPv4 address.",
    9021: "Invalid TTL. Must be between 60 and 86,400 seconds, or 1 for Automatic.",
}

Kept = dict[str, Any]


class Refused(Exception):  # noqa: N818  an answer, not an error
    """`cause` is a code, told in the chain of a validation error."""

    def __init__(self, code: int, text: str = "", *, status: int = 400, cause: int = 0) -> None:
        self.status = status
        self.error = {"code": code, "message": text or _TEXTS[code]}
        if cause:
            self.error["error_chain"] = [{"code": cause, "message": _TEXTS.get(cause, "Invalid.")}]


class CloudflareFake(HttpServer):
    """`records` by id, in the order of their making. `budget` is how many more requests it takes
    before it throttles; `largest_page` and `longest_comment` are its limits. `meanwhile` is done just
    before a request takes effect; `refused` are the codes of all refusals."""

    def __init__(self, zone: str) -> None:
        super().__init__()
        self.zone = zone
        self.records: dict[str, Kept] = {}
        self.budget = 1200
        self.largest_page = 5_000_000
        self.longest_comment = 100
        self.refused: list[object] = []
        self.meanwhile: Callable[[Request], None] | None = None

    @property
    def api(self) -> str:
        return f"{self.url}/client/v4"

    def place(self, name: str, kind: str, content: str, *, comment: str | None = None) -> Kept:
        """Puts a record there as somebody does in the dashboard."""
        body = {"name": name, "type": kind, "content": content, "ttl": 300, "comment": comment}
        return self._post(body)

    def at(self, label: str) -> list[Kept]:
        return [one for one in self.records.values() if one["name"] == f"{label}.{self.zone}"]

    async def respond(self, request: Request) -> bytes:
        try:
            self._admit(request)
            if self.meanwhile:
                self.meanwhile(request)
            return spelled(200, _AS_JSON, told(**self._routed(request)))
        except Refused as refused:
            self.refused.append(refused.error["code"])
            headers = {**_AS_JSON, "Retry-After": "30"} if refused.status == 429 else _AS_JSON
            return spelled(refused.status, headers, told(errors=[refused.error], success=False))

    def _admit(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or len(token) != len(TOKEN):
            raise Refused(6003, "Invalid request headers", cause=6111)
        if token != TOKEN:
            raise Refused(10000, "Authentication error", status=403)
        if self.budget <= 0:
            text = "Please wait and consider throttling your request speed"
            raise Refused(971, text, status=429)
        self.budget -= 1

    def _routed(self, request: Request) -> Mapping[str, Any]:
        url = urlsplit(request.target)
        path = _PATH.fullmatch(url.path)
        if not path or path["zone"] != ZONE_ID:
            text = f"Could not route to {url.path}, perhaps your object identifier is invalid?"
            raise Refused(7003, text, status=404)
        body = json.loads(request.body) if request.body else {}
        match request.method, path["id"]:
            case "GET", None:
                return self._list(dict(parse_qsl(url.query)))
            case "POST", None:
                return {"result": self._post(body)}
            case "POST", "batch":
                return {"result": self._batch(body)}
            case "DELETE", id_:
                return {"result": self._delete(str(id_))}
        raise Refused(10405, "Method not allowed", status=405)

    def _list(self, query: Mapping[str, str]) -> Mapping[str, Any]:
        name, start = query.get("name.exact"), query.get("comment.startswith", "")
        found = [
            one
            for one in self.records.values()
            if (name is None or one["name"] == name.lower())
            and (one["comment"] or "").lower().startswith(start.lower())
        ]
        if query.get("order"):
            found.sort(key=lambda one: str(one[query["order"]]))
        size = min(int(query.get("per_page", 100)), self.largest_page)
        page = int(query.get("page", 1))
        shown = found[(page - 1) * size : page * size]
        info = {"page": page, "per_page": size, "count": len(shown), "total_count": len(found)}
        return {"result": shown, "result_info": {**info, "total_pages": -(-len(found) // size)}}

    def _batch(self, body: Mapping[str, list[Any]]) -> Mapping[str, Any]:
        before = {key: dict(kept) for key, kept in self.records.items()}
        try:
            return {
                "deletes": [self._delete(one["id"]) for one in body.get("deletes", ())],
                "patches": [self._patch(one) for one in body.get("patches", ())],
                "posts": [self._post(one) for one in body.get("posts", ())],
            }
        except Refused:
            self.records = before
            raise

    def _delete(self, id_: str) -> Mapping[str, str]:
        self._known(id_)
        del self.records[id_]
        return {"id": id_}

    def _patch(self, body: Mapping[str, Any]) -> Kept:
        kept = {**self._known(body["id"]), **body}
        self.records[body["id"]] = self._valid(kept, besides=body["id"])
        return self.records[body["id"]]

    def _post(self, body: Mapping[str, Any]) -> Kept:
        kept = self._valid({"id": uuid4().hex, "proxied": False, "comment": None, **body})
        self.records[kept["id"]] = kept
        return kept

    def _known(self, id_: str) -> Kept:
        if id_ not in self.records:
            raise Refused(81044, status=404)
        return self.records[id_]

    def _valid(self, kept: Kept, *, besides: str = "") -> Kept:
        name, kind = kept["name"].lower(), kept["type"]
        if not f".{name}".endswith(f".{self.zone}"):
            name = f"{name}.{self.zone}"
        ttl = 1 if kept["proxied"] else kept["ttl"]
        if ttl != 1 and not 60 <= ttl <= 86_400:
            raise Refused(1004, "DNS Validation Error", cause=9021)
        if len(kept["comment"] or "") > self.longest_comment:
            text = f"DNS record comment exceeds the maximum length of {self.longest_comment} characters."
            raise Refused(9313, text)
        valid = {**kept, "name": name, "ttl": ttl, "content": _content(kind, kept["content"])}
        beside = [one for one in self.records.values() if one["id"] != besides]
        _refuse_taken(valid, [one for one in beside if one["name"] == name])
        return valid


def _content(kind: str, content: str) -> str:
    if kind in _ADDRESSES:
        try:
            return str(_ADDRESSES[kind](content))
        except ValueError:
            raise Refused(1004, "DNS Validation Error", cause=9005) from None
    if kind == "CNAME" and not re.fullmatch(r"[\w.-]+", content):
        raise Refused(1004, "DNS Validation Error", cause=9007)
    return content.removesuffix(".") if kind == "CNAME" else content


def _refuse_taken(new: Kept, beside: Iterable[Kept]) -> None:
    kind = new["type"]
    for one in beside:
        if (one["type"], one["content"]) == (kind, new["content"]):
            raise Refused(81058)
        if (one["type"] == "NS") != (kind == "NS"):
            raise Refused(81056)
        if kind == "CNAME" and one["type"] in ("A", "AAAA", "CNAME"):
            raise Refused(81053)
        if one["type"] == "CNAME" and kind in _ADDRESSES:
            raise Refused(81054)


def told(**envelope: Any) -> bytes:
    """A body as Cloudflare's are."""
    whole = {"success": True, "errors": [], "messages": [], "result": None, **envelope}
    return json.dumps(whole).encode()
