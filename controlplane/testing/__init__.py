"""A pytest plugin for whoever embeds `controlplane.routing`: tenants to test with, and the proof
that no tenant ever sees another's rows. `pytest_plugins = ["controlplane.testing"]`."""

from controlplane.testing.drive import Ask, Fault
from controlplane.testing.fixtures import (
    controlplane_installation,
    controlplane_superuser_url,
    neighbours_fixture,
    tenant_template,
)
from controlplane.testing.ground import Installation, Neighbours, Template
from controlplane.testing.leaks import LeakSummary, assert_no_leak, look_for_leaks, marker

__all__ = [
    "Ask",
    "Fault",
    "Installation",
    "LeakSummary",
    "Neighbours",
    "Template",
    "assert_no_leak",
    "controlplane_installation",
    "controlplane_superuser_url",
    "look_for_leaks",
    "marker",
    "neighbours_fixture",
    "tenant_template",
]
