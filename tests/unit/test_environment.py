"""Who reads the process's environment."""

import ast
from pathlib import Path

import controlplane


def test_only_the_settings_module_reads_the_environment() -> None:
    package = Path(controlplane.__file__).parent
    readers = {str(path.relative_to(package)) for path in package.rglob("*.py") if _reads_it(path)}
    assert readers == {"settings.py"}


def _reads_it(path: Path) -> bool:
    """By name, whatever it was imported from: os.environ, os.environb, os.getenv."""
    wanted = {"environ", "environb", "getenv", "getenvb"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        if names & wanted:
            return True
    return False
