"""What a repository says of itself: how to cite it, how to report, what runs before a commit."""

from __future__ import annotations

from pathlib import Path

import yaml

from medclipsam_monai.version import __version__

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_this_version_and_names_both_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", __version__)
    assert citation["title"] and citation["message"] and citation["authors"]
    values = [one["value"] for paper in citation["references"] for one in paper["identifiers"]]
    assert values == ["arXiv:2403.20253", "arXiv:2409.19483"]


def test_the_changelog_has_a_section_for_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {__version__}" in text and text.index("## Unreleased") < text.index(f"## {__version__}")


def test_hooks_are_of_this_checkout_alone():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert all(hook["language"] == "system" and hook["entry"].startswith(".venv/bin/") for hook in hooks)
    named = [word for hook in hooks for word in hook["entry"].split() if word.startswith("tests/")]
    assert named and all((ROOT / word).is_file() for word in named)


def test_the_forms_of_issues_are_forms():
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert form["name"] and form["description"]
        fields = [one for one in form["body"] if one["type"] != "markdown"]
        assert fields and len({one["id"] for one in fields}) == len(fields)
        assert {one["type"] for one in form["body"]} <= {"markdown", "textarea", "input"}
