"""What of the STT for LiveKit can be seen without LiveKit; the rest is in ``tests/integration/livekit``."""

from __future__ import annotations

import ast
import importlib
import re
import sys

import pytest

from hearout import preset
from tests.kit.paths import ROOT

PAGE = (ROOT / "docs/livekit.md").read_text()


@pytest.mark.parametrize("module", ["hearout.integrations.livekit", "hearout.shadow.livekit"])
def test_without_livekit_one_line_says_what_to_install(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livekit", None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ImportError, match=rf"^{re.escape(module)} needs LiveKit .*'hearout\[livekit\]'$"):
        importlib.import_module(module)


def test_the_page_shows_the_example_as_it_is() -> None:
    source = (ROOT / "examples/livekit_agent.py").read_text()
    (talk,) = [node for node in ast.parse(source).body if getattr(node, "name", "") == "talk"]
    assert f"```python\n{ast.get_source_segment(source, talk)}\n```" in PAGE


def test_the_page_names_parameters_that_exist_with_their_values() -> None:
    parameters = {parameter.key: parameter.value for parameter in preset("balanced").parameters()}
    rows = [row.split(" | ")[1] for row in PAGE.partition("## Which setting")[2].splitlines() if " | " in row]
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)` \(([\d.]+)", "\n".join(rows))
    assert len(named) >= 6
    for key, value in named:
        assert parameters[key] == float(value), key
    for key in re.findall(r"`(silence\.[a-z]+(?:\.[a-z]+)?|predict_above|backchannel_words)`", PAGE):
        assert key in parameters
