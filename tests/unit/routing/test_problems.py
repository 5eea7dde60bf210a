from controlplane.domain.problems import problem, problem_headers
from controlplane.errors import (
    FieldFault,
    TenantContextConflict,
    TenantNotFound,
    TenantNotReady,
    ValidationFailed,
)


def test_a_problem_has_the_members_of_rfc_9457_and_its_code():
    error = TenantNotFound("There is no tenant at 'acme'.")
    assert problem(error, instance="/x", request_id="r1") == {
        "type": "urn:controlplane:problem:tenant_not_found",
        "title": "There is no such tenant.",
        "status": 404,
        "detail": "There is no tenant at 'acme'.",
        "code": "tenant_not_found",
        "instance": "/x",
        "request_id": "r1",
    }


def test_the_title_is_one_line_and_what_is_not_known_is_left_out():
    class Odd(TenantNotFound):
        """First line.

        Second paragraph.
        """

    assert problem(Odd()) == {
        "type": "urn:controlplane:problem:tenant_not_found",
        "title": "First line.",
        "status": 404,
        "detail": "First line.",
        "code": "tenant_not_found",
    }


def test_a_fault_of_our_own_is_told_without_its_insides():
    told = problem(TenantContextConflict("Tenant 7 was asked for in the scope of tenant 8."))
    assert (told["status"], told["code"]) == (500, "tenant_context_conflict")
    assert told["detail"] == told["title"]


def test_a_failed_validation_lists_its_faults():
    error = ValidationFailed("No.", [FieldFault("/subdomain", "subdomain_invalid", "Too short.")])
    assert problem(error)["errors"] == [
        {"pointer": "/subdomain", "code": "subdomain_invalid", "detail": "Too short."}
    ]
    assert "errors" not in problem(ValidationFailed("No."))


def test_the_headers_carry_the_code_and_when_to_come_back():
    assert problem_headers(TenantNotFound()) == {
        "content-type": "application/problem+json",
        "x-error-code": "tenant_not_found",
        "cache-control": "no-store",
    }
    assert problem_headers(TenantNotReady())["retry-after"] == "2"
