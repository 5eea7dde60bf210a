"""The OpenAPI document, and the page that explains its errors."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controlplane import errors
from controlplane.errors import ControlPlaneError
from controlplane.web.app import openapi_json

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "api.md"
# Never an answer of the API: they stop a command, a worker or a step.
_INTERNAL = {"startup_failed", "settings_invalid", "lease_lost"}


@pytest.fixture(scope="module")
def document() -> Any:
    return msgspec.json.decode(openapi_json())


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_leads_somewhere(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    for reference in references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_every_error_is_declared_as_a_problem_with_an_example(document: Any) -> None:
    for _, operation in operations(document):
        refusals = {s: r for s, r in operation["responses"].items() if not s.startswith("2")}
        assert {"400", "500", "503"} <= set(refusals)
        for status, response in refusals.items():
            content = response["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert {e["value"]["status"] for e in content["examples"].values()} == {int(status)}


def test_every_operation_says_whose_token_it_needs(document: Any) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {name: scheme["scheme"] for name, scheme in schemes.items()} == {
        "bearer": "bearer",
        "tenantBearer": "bearer",
    }
    for path, operation in operations(document):
        named = [list(each) for each in operation.get("security", [])]
        if path.startswith("/api/admin/") or path == "/api/edge/resolve":
            assert named == [["bearer"]]
        elif path.startswith("/api/tenant/"):
            assert ["tenantBearer"] in named
        else:
            assert named == []
        assert {"401", "403"} <= set(operation["responses"]) or not named


def test_every_operation_is_named_described_and_tagged(document: Any) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for _, operation in operations(document):
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]


def test_a_body_is_declared_strictly_with_an_example(document: Any) -> None:
    bodies = [
        operation["requestBody"]
        for _, operation in operations(document)
        if "requestBody" in operation
    ]
    assert len(bodies) == 10
    for body in bodies:
        content = body["content"]["application/json"]
        schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        assert schema["additionalProperties"] is False
        assert set(content["example"]) == set(schema["required"])


def test_the_reference_names_every_operation_and_every_code(document: Any) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    missing = [name for name in _codes() if f"`{name}`" not in text]
    assert missing == []
    for path, operation in operations(document):
        assert f"`{path}`" in text, operation["operationId"]


def _codes() -> set[str]:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, ControlPlaneError)
    ]
    answers = {c.code for c in classes if c.status != ControlPlaneError.status}
    return (answers | {"internal_error"}) - _INTERNAL


def test_making_the_document_leaves_logging_alone() -> None:
    program = (
        "import logging; from controlplane.web.app import openapi_json; openapi_json();"
        "assert not logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603  a constant program
