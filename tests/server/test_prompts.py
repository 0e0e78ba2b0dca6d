"""What a model is asked through the real server: other files, secrets, and prompts that typing does not disturb."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.conftest import ROOT
from tests.server.rawlsp import PYTHON, RawClient, span

SHOP = "class Shop:\n    def add(self, order, count=1):\n        self.total += count\n"
OTHER = "def add_orders(shop, orders):\n    for order in orders:\n        shop.add(order)\n" * 4
MAIN = "from shop import Shop\n\n\ndef add_orders(orders):\n    shop = Shop()\n    shop.add(order, \n"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawClient]:
    monkeypatch.chdir(ROOT)
    env = {"XDG_CONFIG_HOME": str(tmp_path), "PROMPTS": str(tmp_path / "prompts")}
    started = RawClient.spawn([PYTHON, "-m", "tests.server.prompt_server"], tmp_path / "log", env)
    yield started
    started.clean_up()


def prompts(folder: Path) -> list[str]:
    return [json.loads(line) for line in (folder / "prompts").read_text().splitlines()]


def test_other_files_are_in_the_prompt_and_secrets_are_not(client: RawClient, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop.py").write_text(SHOP)
    client.initialize(workspaceFolders=[{"uri": project.as_uri(), "name": "project"}])
    client.until(lambda: any(s["kind"] == "Normal" and not s["busy"] for s in client.noted("didChangeStatus")), 60)
    assert len(prompts(tmp_path)) == 1  # the self-test
    main = (project / "main.py").as_uri()
    client.open(OTHER, (project / "other.py").as_uri())
    client.open("add_orders = 'top secret'\n" * 9, (project / ".env").as_uri())
    client.open(MAIN, main)
    client.complete(5, 20, main)
    first = prompts(tmp_path)[-1]
    shop = first.index("<|file_sep|>shop.py\nclass Shop:\n    def add(self, order, count=1):\n")
    assert first.startswith("<|repo_name|>project\n") and "<|file_sep|>other.py\ndef add_orders" in first
    assert shop < first.index("<|file_sep|>main.py\n<|fim_prefix|>from shop import Shop")
    assert "top secret" not in first
    client.change(2, {"range": span(5, 20, 5, 20), "text": "c"}, uri=main)
    client.complete(5, 21, main)
    second = prompts(tmp_path)[-1]
    assert second == first.replace("shop.add(order, <|fim_suffix|>", "shop.add(order, c<|fim_suffix|>")
    asked = len(prompts(tmp_path))
    assert client.complete(0, 5, (project / ".env").as_uri()) == {"items": []}
    assert len(prompts(tmp_path)) == asked
    client.call("shutdown")
    client.notify("exit")
    assert client.exit_code() == 0
    assert "top secret" not in (tmp_path / "log").read_text()
