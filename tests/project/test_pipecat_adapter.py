"""What of the Pipecat service can be seen without Pipecat; the rest is in ``tests/integration/pipecat``."""

from __future__ import annotations

import ast
import importlib
import re
import sys

import pytest

from hearout import preset
from tests.kit.paths import ROOT

PAGE = (ROOT / "docs/pipecat.md").read_text()


@pytest.mark.parametrize("module", ["hearout.integrations.pipecat", "hearout.shadow.pipecat"])
def test_without_pipecat_one_line_says_what_to_install(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pipecat", None)
    monkeypatch.setitem(sys.modules, "loguru", None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ImportError, match=rf"^{re.escape(module)} needs Pipecat .*'hearout\[pipecat\]'$"):
        importlib.import_module(module)


def test_the_page_shows_the_example_as_it_is() -> None:
    source = (ROOT / "examples/pipecat_bot.py").read_text()
    (talk,) = [node for node in ast.parse(source).body if getattr(node, "name", "") == "talk"]
    assert f"```python\n{ast.get_source_segment(source, talk)}\n```" in PAGE


def test_the_page_names_parameters_that_exist_with_their_values() -> None:
    parameters = {parameter.key: parameter.value for parameter in preset("balanced").parameters()}
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)` \(([\d.]+)", PAGE.partition("## Which setting")[2])
    assert len(named) >= 6
    for key, value in named:
        assert parameters[key] == float(value), key
    for key in re.findall(r"`(silence\.[a-z.]+|predict_above|backchannel_words)`", PAGE):
        assert key in parameters
