"""A command's answer, and what many tests begin with."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Done]


def create(cli: Cli, subdomain: str, *options: str) -> Done:
    command = ("tenant", "create", subdomain.title(), "--subdomain", subdomain)
    return cli(*command, "--admin-email", f"ada@{subdomain}.test", *options)
