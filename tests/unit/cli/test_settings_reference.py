"""docs/reference/settings.md tells every setting with its default, and no other."""

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

import controlplane
from controlplane.settings import ClientSettings, Settings, variable

REFERENCE = Path(controlplane.__file__).parents[1] / "docs" / "reference" / "settings.md"
_ROW = re.compile(r"^\| `([A-Z_]+)` \| ([^|]*) \|", re.MULTILINE)


def told() -> dict[str, str]:
    return dict(_ROW.findall(REFERENCE.read_text(encoding="utf-8")))


def test_every_setting_is_told_and_no_other() -> None:
    fields = {*Settings.model_fields, *ClientSettings.model_fields}
    assert set(told()) == {variable(field) for field in fields}


def test_every_default_is_told_as_it_is() -> None:
    defaults = {
        variable(name): field.default
        for model in (Settings, ClientSettings)
        for name, field in model.model_fields.items()
    }
    for name, default in defaults.items():
        if default is PydanticUndefined:
            wanted = "required"
        elif default in (None, ()):
            wanted = "-"
        else:
            wanted = f"`{default}`"
        assert told()[name] == wanted, name
