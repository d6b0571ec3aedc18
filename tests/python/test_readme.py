"""The example of the README runs as it stands there."""

import re

import pytest
from conftest import ROOT


def test_readme_example(monkeypatch, capsys):
    example, = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102
    assert len(capsys.readouterr().out) > 100


@pytest.mark.parametrize("name", ["__init__", "lm", "errors", "_core"])
def test_the_package_is_typed(name):
    from pathlib import Path

    import ophis

    folder = Path(ophis.__file__).parent
    assert (folder / "py.typed").exists()
    assert (folder / f"{name}.py").exists() or (folder / f"{name}.pyi").exists()
