"""What was found, in words and figures: a card for each class, warnings, agreement of wordings, how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from medclipsam_monai.web.shown.drawing import colour
from medclipsam_monai.web.visits.answer import Answer
from medclipsam_monai.web.visits.reworded import Reworded
from medclipsam_monai.zero_shot.class_records import size_words


def facts(answer: Answer, marks: int = 0) -> str:
    """The answer as HTML; everything in it that came from the visitor is escaped."""
    record = answer.segmentation.record({})
    cards = "".join(_card(k, one) for k, one in enumerate(record["classes"]))
    warnings = "".join(f'<p class="warning">{escape(line)}</p>' for line in record["warnings"])
    told = f"{answer.seconds:.2f} s. Computed anew: {_listed([*answer.made, 'mask'])}."
    if marks:
        told += f" Corrected by {marks} click{'s' if marks > 1 else ''} or box{'es' if marks > 1 else ''}."
    return f'<div class="cards">{cards}</div>{warnings}<p class="computed">{escape(told)}</p>'


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _card(k: int, one: Mapping[str, Any]) -> str:
    rows = [("presence", _share(one["presence"]), one["presence"])]
    size = "likely not there" if one.get("size_reason") else size_words(one)
    rows.append(("area" if "slices" not in one else "volume", size, None))
    rows.append(("SAM's quality", _share(one["quality"]) if one["pixels"] else "", one["quality"]))
    if "slices" in one and one["pixels"]:
        rows.append(("where", one["slices"]["words"], None))
    body = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}{_bar(share)}</dd>" for name, value, share in rows if value
    )
    return (
        f'<section class="card" style="--class:{colour(k)}"><h3><span class="swatch"></span>{escape(one["name"])}</h3>'
        f"<dl>{body}</dl></section>"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _bar(share: float | None) -> str:
    return "" if share is None else f'<meter min="0" max="1" value="{min(max(share, 0), 1):.3f}"></meter>'


def reworded_facts(reworded: Sequence[Reworded]) -> str:
    """Agreement and spread of other wordings, a table for each class."""
    return "".join(_reworded_class(one) for one in reworded)


def _reworded_class(one: Reworded) -> str:
    spread = "the mask as asked for is empty"
    if one.sizes is not None:
        low, mean, high = one.sizes
        spread = f"sizes from {low:.0%} to {high:.0%} of it, mean {mean:.0%}"
    rows = "".join(
        f"<tr><td>{escape(wording.sentence)}</td><td>{_share(wording.presence)}</td><td>{wording.dice:.2f}</td></tr>"
        for wording in one.wordings
    )
    return (
        f'<section class="words"><h3>{escape(one.name)}</h3><p>Agreement <strong>{one.agreement:.2f}</strong> '
        f"(mean DSC of all pairs); {escape(spread)}.</p><table><thead><tr><th>wording</th><th>presence</th>"
        f"<th>DSC with the mask</th></tr></thead><tbody>{rows}</tbody></table></section>"
    )
