"""A tenant's record on a real BIND, as `dig` sees it: `make demo DNS=bind`.

Starts named and `controlplane dev` in a throw-away folder, makes a tenant, renames and deletes it
through the commands that operators use, and asks named after each step.
"""

import base64
import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controlplane.settings import child_environment

ZONE = "localhost"
CONFIGURATION = """\
key "controlplane" {{ algorithm hmac-sha256; secret "{secret}"; }};
options {{
  directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  pid-file none; session-keyfile none; recursion no; notify no; dnssec-validation no;
}};
controls {{ }};
zone "localhost" {{
  type primary; file "{folder}/zone";
  update-policy {{ grant controlplane subdomain localhost. A AAAA CNAME TXT; }};
  allow-transfer {{ key controlplane; }};
}};
"""
START = """\
$TTL 300
@ IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 604800 60
@ IN NS ns.invalid.
"""
CONTROLPLANE = [sys.executable, "-m", "controlplane"]
_PATIENCE_S = 120


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="controlplane-demo-bind-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the database's user must get through
        with named(folder) as (port, secret), dev(folder, port, secret) as up:
            client = {"CONTROLPLANE_URL": up["url"], "CONTROLPLANE_TOKEN": up["admin_token"]}
            show(client, port)


def show(client: Mapping[str, str], port: int) -> None:
    email = "ada@acme.test"
    tenant(client, "create", "Acme", "--subdomain", "acme", "--admin-email", email)
    expect(port, {"acme": "127.0.0.1", "acme-new": ""})
    tenant(client, "rename", "acme", "acme-new")
    expect(port, {"acme": "", "acme-new": "127.0.0.1"})
    tenant(client, "delete", "acme-new", "--confirm", "acme-new")
    expect(port, {"acme": "", "acme-new": ""})


def tenant(client: Mapping[str, str], *arguments: str) -> None:
    """Runs the command to the end of its operation."""
    print(f"\n$ controlplane tenant {' '.join(arguments)}", flush=True)
    command = [*CONTROLPLANE, "tenant", *arguments]
    ran = subprocess.run(command, env=child_environment(client), check=False)  # noqa: S603  a literal command
    if ran.returncode:
        sys.exit("That was to succeed.")


def expect(port: int, wanted: Mapping[str, str]) -> None:
    for label, address in wanted.items():
        command = ["dig", "@127.0.0.1", "-p", str(port), "+short", f"{label}.{ZONE}"]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  a literal command
        print(f"$ {' '.join(command)}\n{ran.stdout}", end="", flush=True)
        if ran.stdout.strip() != address:
            sys.exit(f"'{address}' was to be answered.")


@contextmanager
def named(folder: Path) -> Iterator[tuple[int, str]]:
    """The port and the key's secret."""
    program = shutil.which("named") or shutil.which("named", path="/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("dig") is None:
        sys.exit("This needs named and dig; see scripts/install-test-peers.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    (folder / "zone").write_text(START)
    configuration = folder / "named.conf"
    configuration.write_text(CONFIGURATION.format(secret=secret, folder=folder, port=port))
    with subprocess.Popen(  # noqa: S603  a literal command
        [program, "-g", "-n", "1", "-c", str(configuration)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr  # noqa: S101  a pipe
        try:
            if not any(line.endswith(" running\n") for line in process.stderr):
                sys.exit("named has ended.")
            # Somebody must read on, or it would block.
            threading.Thread(target=list, args=(process.stderr,), daemon=True).start()
            yield port, secret
        finally:
            process.terminate()
            process.wait()


@contextmanager
def dev(folder: Path, port: int, secret: str) -> Iterator[dict[str, Any]]:
    """What its ready file says."""
    environment = {
        "CONTROLPLANE_DNS": "rfc2136",
        "CONTROLPLANE_DNS_SERVER": f"127.0.0.1:{port}",
        "CONTROLPLANE_DNS_KEY_NAME": "controlplane",
        "CONTROLPLANE_DNS_KEY_SECRET": secret,
        "CONTROLPLANE_LOG_LEVEL": "warning",
    }
    ready = folder / "ready.json"
    command = [*CONTROLPLANE, "dev", "--port", "0", "--data-dir", str(folder / "site")]
    with subprocess.Popen(  # noqa: S603  a literal command
        [*command, "--ready-file", str(ready)],
        env=child_environment(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield _once_ready(process, ready)
        finally:
            process.terminate()
            process.wait()


def _once_ready(process: subprocess.Popen[bytes], ready: Path) -> dict[str, Any]:
    for _ in range(_PATIENCE_S * 10):
        if ready.exists():
            told: dict[str, Any] = json.loads(ready.read_text())
            return told
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    sys.exit("The control plane did not start.")


if __name__ == "__main__":
    main()
