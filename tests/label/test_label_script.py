"""scripts/label.sh, the README's one command for an annotation server."""

from __future__ import annotations

import subprocess
from pathlib import Path

from label_server import LabelServer, write_phantoms

SCRIPT = Path(__file__).parents[2] / "scripts" / "label.sh"


class ScriptServer(LabelServer):
    """A server that the script has started."""

    def command(self) -> list[str]:
        return ["bash", str(SCRIPT), str(self.studies)]


def test_the_script_writes_the_app_and_serves_a_folder_on_this_machine_alone(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "scans", 1)
    server = ScriptServer(tmp_path / "app", tmp_path / "scans", text="heart")
    try:
        assert server.info()["models"]["text"]["config"]["text"] == "heart"
        assert server.addresses() == {"127.0.0.1"}
    finally:
        server.stop()
    assert (tmp_path / "app" / "main.py").is_file()


def test_the_script_without_images_says_how_it_is_used() -> None:
    for words in ([], ["--port", "8000"]):
        result = subprocess.run(["bash", str(SCRIPT), *words], capture_output=True, text=True, check=False)
        assert result.returncode == 2
        assert result.stderr.startswith("usage: scripts/label.sh IMAGES")
