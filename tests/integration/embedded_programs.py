"""Programs that start an embedded PostgreSQL and come to an end."""

import subprocess
import sys
from pathlib import Path

STARTS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from controlplane import embedded
running = embedded.start(Path(sys.argv[1]))
import psycopg
with psycopg.connect(running.superuser_url) as conn:
    conn.execute("CREATE TABLE kept AS SELECT 42 AS n")
os.kill(os.getpid(), signal.SIGKILL)
"""
DIES_WITH_A_THROWAWAY = """
import os, signal
from controlplane import embedded
with embedded.throwaway() as running:
    print(running.port, running.data, flush=True)
    os.kill(os.getpid(), signal.SIGNAL)
"""
RUNS_ONCE_AS_NOBODY = """
import os, pwd, sys
from pathlib import Path
from controlplane import embedded
nobody = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(nobody.pw_gid)
os.setuid(nobody.pw_uid)
running = embedded.start(Path(sys.argv[1]), binaries=Path(sys.argv[2]))
embedded.stop(running)
"""


def run_python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  the scripts of this module
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
