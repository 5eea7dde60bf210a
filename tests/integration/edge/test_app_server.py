"""The sample app server, in both frameworks: a company's documents are its own."""

import pytest

from tests.integration.edge.place import Place, ask

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("place", ["litestar", "fastapi"], indirect=True, scope="module"),
]

CONTRACT = {"name": "contract.pdf", "mime_type": "application/pdf", "size_bytes": 42}


async def test_each_company_sees_finds_and_files_its_own_documents(place: Place) -> None:
    port = place.app_server
    made = [
        (await ask(port, f"{who}.localhost", json={**CONTRACT, "name": name})).json()
        for who, name in [
            ("acme", "Contract.pdf"),
            ("acme", "letter.pdf"),
            ("globex", "contract.pdf"),
        ]
    ]
    ours = {document["id"] for document in made}
    assert len(ours) == 3
    for who, path, wanted in [
        ("acme", "/documents", ["letter.pdf", "Contract.pdf"]),
        ("acme", "/documents?q=CONTRACT", ["Contract.pdf"]),
        ("globex", "/documents", ["contract.pdf"]),
        ("globex", "/documents?q=letter", []),
    ]:
        answer = await ask(port, f"{who}.localhost", path)
        assert answer.status_code == 200
        assert [d["name"] for d in answer.json() if d["id"] in ours] == wanted


async def test_who_is_not_served_is_told_why(place: Place) -> None:
    told = {}
    for host in ("initech.localhost", "nobody.localhost", "localhost"):
        answer = await ask(place.app_server, host)
        told[host] = (answer.status_code, answer.json()["code"])
    assert told == {
        "initech.localhost": (403, "tenant_suspended"),
        "nobody.localhost": (404, "tenant_not_found"),
        "localhost": (404, "tenant_required"),
    }
    assert (await ask(place.app_server, "localhost", "/health")).status_code == 200


async def test_a_header_that_names_another_tenant_is_refused_and_told_to_the_log(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    header = {"X-Tenant-Id": place.ids["globex"]}
    answer = await ask(place.app_server, "acme.localhost", headers=header)
    assert (answer.status_code, answer.json()["code"]) == (401, "tenant_mismatch")
    told = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert told == ["isolation: tenant_mismatch at acme, asked by 127.0.0.1"]


async def test_a_document_that_does_not_fit_is_refused(place: Place) -> None:
    wrong = await ask(place.app_server, "acme.localhost", json={**CONTRACT, "size_bytes": "large"})
    assert wrong.status_code in {400, 422}
