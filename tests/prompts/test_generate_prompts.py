"""Prompt sets from a language model, against a server on this machine that speaks OpenAI's protocol."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from medclipsam_monai.prompts import load_prompt_set, read_prompts
from medclipsam_monai.prompts.generate import TRIES, usable

KEY = "sk-secret-of-a-test"


class Model(ThreadingHTTPServer):
    """Answers with what is in ``answers``, one a question, the last one again and again; keeps the questions."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Any] = []
        self.questions: list[str] = []
        self.status = 200

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/chat/completions" and self.headers["Authorization"] == f"Bearer {KEY}"
        self.server.questions.append(body["messages"][0]["content"])
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        text = answer if isinstance(answer, str) else json.dumps(answer)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        reply = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        content = json.dumps(reply if self.server.status == 200 else {"error": {"message": "no"}}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def model(monkeypatch, tmp_path):
    server = Model()
    server.answers = [good()]
    monkeypatch.setenv("OPENAI_BASE_URL", server.address)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MEDCLIPSAM_HOME", str(tmp_path / "home"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def good() -> dict[str, Any]:
    return {
        "sentences": ["An abdominal CT with the spleen.", "The spleen lies on the left.", "CT showing splenic tissue."],
        "findings": {"enlarged": ["An enlarged spleen.", "The spleen is too large.", "CT with splenomegaly."]},
        "opposites": ["An abdominal CT without the spleen."],
        "wordings": [f"spleen, way {word}" for word in "one two three four five six seven eight nine ten".split()],
    }


def words(output: Path, *more: str) -> list[str]:
    options = ["--modality", "abdominal CT", "--model", "m", "--count", "3", "--finding", "enlarged", "-o", str(output)]
    return ["prompts", "generate", "spleen", *options, *more]


def test_a_set_is_written_that_segment_takes(model, command, tmp_path):
    code, output, error = command(*words(tmp_path / "spleen.json"))
    assert code == 0, error
    prompts = load_prompt_set(tmp_path / "spleen.json")
    assert prompts.levels["P4"] == tuple(good()["sentences"])
    assert prompts.findings["P5"]["enlarged"] == tuple(good()["findings"]["enlarged"])
    assert len(prompts.wordings) == 10
    (target,) = read_prompts(f"{tmp_path / 'spleen.json'}:P3:enlarged")
    assert target.sentences == ("An enlarged spleen.",) and target.opposites == tuple(good()["opposites"])
    (question,) = model.questions
    assert "abdominal CT" in question and "enlarged" in question and "3 different sentences" in question
    assert KEY not in output + error + (tmp_path / "spleen.json").read_text()


def test_the_second_time_nothing_is_contacted(model, command, tmp_path):
    assert command(*words(tmp_path / "first.json"))[0] == 0
    model.status = 500
    assert command(*words(tmp_path / "second.json"))[0] == 0
    assert len(model.questions) == 1
    assert (tmp_path / "first.json").read_text() == (tmp_path / "second.json").read_text()
    for kept in (tmp_path / "home").rglob("*.json"):
        assert KEY not in kept.read_text()


def test_nonsense_is_asked_again_and_usable_sentences_add_up(model, command, tmp_path):
    half = good() | {"sentences": good()["sentences"][:1] * 3, "wordings": good()["wordings"][:5]}
    rest = good() | {"wordings": good()["wordings"][5:]}
    model.answers = ["I cannot help with that.", "```json\n" + json.dumps(half) + "\n```", rest]
    code, _, error = command(*words(tmp_path / "spleen.json"))
    assert code == 0, error
    assert len(model.questions) == 3
    assert load_prompt_set(tmp_path / "spleen.json").levels["P4"] == tuple(good()["sentences"])


def test_too_few_usable_sentences_are_an_error(model, command, tmp_path):
    model.answers = [good() | {"sentences": ["The spleen on MRI.", "A mammogram.", "The spleen."]}]
    code, _, error = command(*words(tmp_path / "spleen.json"))
    assert code == 2 and f"gave 1 usable sentences of 3 in {TRIES} answers" in error
    assert not (tmp_path / "spleen.json").exists() and len(model.questions) == TRIES


@pytest.mark.parametrize(("status", "message"), [(401, "status 401"), (404, "status 404")])
def test_a_refusal_is_one_line(model, command, tmp_path, status, message):
    model.status = status
    code, _, error = command(*words(tmp_path / "spleen.json"))
    assert code == 2 and message in error and len(error.strip().splitlines()) == 1
    assert KEY not in error and not (tmp_path / "spleen.json").exists()


def test_a_server_that_is_gone_is_one_line(model, command, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    code, _, error = command(*words(tmp_path / "spleen.json"))
    assert code == 2 and "does not answer: APIConnectionError" in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("missing", ["OPENAI_BASE_URL", "OPENAI_API_KEY"])
def test_without_an_address_nothing_is_contacted(model, command, tmp_path, monkeypatch, missing):
    monkeypatch.delenv(missing)
    code, _, error = command(*words(tmp_path / "spleen.json"))
    assert code == 2 and "set OPENAI_BASE_URL and OPENAI_API_KEY" in error
    assert not model.questions


def test_a_template_of_one_s_own_is_asked(model, command, tmp_path):
    template = tmp_path / "ask.txt"
    template.write_text("Sentences about {target}, please: {{...}}", encoding="utf-8")
    assert command(*words(tmp_path / "spleen.json", "--template", str(template)))[0] == 0
    assert model.questions == ["Sentences about spleen, please: {...}"]
    template.write_text("{organ}", encoding="utf-8")
    code, _, error = command(*words(tmp_path / "spleen.json", "--template", str(template)))
    assert code == 2 and "may hold {target}" in error


def test_sentences_are_used_once_and_only_of_the_right_modality():
    written = [
        "The liver.",
        "the liver",
        " The  liver! ",
        "",
        3,
        "The liver on MRI.",
        "Ultrasound.",
        "x " * 41,
        "A CT.",
    ]
    assert usable(written, "abdominal CT") == ["The liver.", "A CT."]


def test_list_and_show_name_what_there_is(command):
    code, output, _ = command("prompts", "list")
    assert code == 0 and "brain_mri" in output and "P0 P1 P2 P3 P4 P5" in output
    code, output, _ = command("prompts", "show", "brain_mri")
    assert code == 0 and "P3:glioma" in output and "names the finding" not in output.split("wordings")[0]
    assert "P3 and P5 name the finding" in output
    code, _, error = command("prompts", "show", "brain")
    assert code == 2 and "unknown prompt set 'brain'" in error
