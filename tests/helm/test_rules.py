"""The alerts that the chart brings, and what Prometheus makes of them."""

import shutil
import subprocess
from pathlib import Path
from re import MULTILINE, findall

import pytest

import controlplane

ROOT = Path(controlplane.__file__).parents[1]
RULES = ROOT / "helm" / "controlplane" / "rules" / "controlplane.yaml"
GUIDE = ROOT / "docs" / "how-to" / "prometheus.md"
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    assert program is not None
    done = subprocess.run(  # noqa: S603  our own files
        [program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.requires("promtool")
def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS: 13 rules found" in promtool("check", "rules", str(RULES))


@pytest.mark.requires("promtool")
def test_the_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).with_name("rules.yaml"), tmp_path / "tests.yaml")
    promtool("test", "rules", str(tmp_path / "tests.yaml"))


def test_every_metric_of_the_rules_is_one_that_is_told() -> None:
    told = REFERENCE.read_text(encoding="utf-8")
    expressions = findall(r"expr: (.*)", RULES.read_text(encoding="utf-8"))
    used = {
        name.removesuffix("_count")
        for text in expressions
        for name in findall(r"controlplane_\w+", text)
    }
    assert len(used) > 5
    assert [name for name in used if f"`{name}`" not in told] == []


def test_the_guide_says_of_every_alert_what_to_do() -> None:
    alerts = set(findall(r"alert: (\w+)", RULES.read_text(encoding="utf-8")))
    assert (
        set(findall(r"^\| `(ControlPlane\w+)` \|", GUIDE.read_text(encoding="utf-8"), MULTILINE))
        == alerts
    )
