"""The page that tells how a weakly supervised run went: gate, training, scores, and the cases themselves.

One HTML file with its pictures beside it, no script and nothing from a network, so that it can be sent on as a folder.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path

from medclipsam_monai.base.files import write_text
from medclipsam_monai.io.label_maps import find_given
from medclipsam_monai.prompts import OppositesLike, TextLike
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.ensemble.uncertainty import retention_curve
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.raw_data import read_cases
from medclipsam_monai.weak.nnunet.training import read_progress
from medclipsam_monai.weak.report.evaluation import METHODS, EvaluationFolders, ImageResult, evaluate, summarise
from medclipsam_monai.weak.report.examples import Example, draw_examples
from medclipsam_monai.weak.report.training_curves import plot_progress
from medclipsam_monai.weak.report.uncertainty_curves import plot_retention, plot_scores
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

_SHOWN = 2  # best cases, as many that were mended most, and as many of the worst
_WORDS = {"zero_shot": "zero-shot mask", "last_checkpoint": "last checkpoint", "ensemble": "ensemble"}
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "img{max-width:100%}table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #ccc;"
    "text-align:left}"
)


def evaluate_and_report(
    folders: WorkFolders,
    ensemble: CheckpointEnsemble,
    segmenter: TextSegmenter,
    text: TextLike,
    output: str | Path,
    test_dir: str | Path | None = None,
    opposites: OppositesLike | None = None,
    threshold: float = 0.5,
    masks: str | Path | None = None,
) -> Path:
    """Score the ensemble on test images, if there are any, and write the report.

    Args:
        folders: of the run.
        ensemble: the trained one.
        segmenter: the networks that made the pseudo-labels.
        text: as in training.
        output: folder for the report; the evaluation's files go to ``test`` in it.
        test_dir: ``images/`` and ``labels/``; without it (None or empty) the report shows
            validation images and no scores.
        opposites: as in training.
        threshold: see `EnsemblePrediction.label_map`.
        masks: folder of the zero-shot masks; None for the run's own.

    Raises:
        InputError: see `evaluate` and `write_report`.
    """
    if not test_dir:
        examples = _validation_examples(folders, Path(masks or folders.pseudo_labels).expanduser())
        return write_report(folders, ensemble, text, output, examples, threshold=threshold)
    place = EvaluationFolders(Path(output) / "test")
    results = evaluate(segmenter, ensemble, test_dir, text, place.root, opposites, threshold)
    examples = choose_examples(results)
    return write_report(folders, ensemble, text, output, examples, results, threshold)


def write_report(
    folders: WorkFolders,
    ensemble: CheckpointEnsemble,
    text: TextLike,
    output: str | Path,
    examples: Sequence[Example],
    results: Sequence[ImageResult] = (),
    threshold: float = 0.5,
) -> Path:
    """Write ``report.html`` and its pictures.

    Args:
        folders: of the run.
        ensemble: the trained one, which predicts the examples again.
        text: what was asked for.
        output: folder for the page.
        examples: cases to show, in their order.
        results: of the test images, if there were any.
        threshold: see `EnsemblePrediction.label_map`.

    Raises:
        InputError: a file of the run is gone, or the page cannot be written.
    """
    output = Path(output)
    parts = [f"<h1>Weak supervision: {html.escape(str(text))}</h1>", *_gate_part(folders, output)]
    progress = read_progress(folders)
    if progress:
        parts += ["<h2>Training</h2>", _image(plot_progress(progress, output / "training.png"), output)]
    parts.append(f"<p>{len(ensemble.members)} checkpoints in the ensemble.</p>")
    if results:
        parts += _results_part(results, output)
    if examples:
        picture = draw_examples(ensemble, examples, output / "cases.png", threshold)
        parts += ["<h2>Cases</h2>", _image(picture, output)]
    head = f"<!doctype html><meta charset=utf-8><title>Weak supervision</title><style>{_STYLE}</style>"
    return write_text(output / "report.html", "\n".join([head, *parts]))


def choose_examples(results: Sequence[ImageResult]) -> list[Example]:
    """The test cases with the best DSC of the ensemble, those it mended most, and the worst; two of each."""
    best = sorted(results, key=lambda result: -result.dsc["ensemble"])
    mended = sorted(results, key=lambda result: result.dsc["zero_shot"] - result.dsc["ensemble"])
    shown = {result.stem: result for result in (*best[:_SHOWN], *mended[:_SHOWN], *best[-_SHOWN:])}
    return [
        Example(
            f"{result.stem}\nDSC {result.dsc['ensemble']:.2f}, zero-shot {result.dsc['zero_shot']:.2f}, "
            f"score {result.score:.0f}",
            result.image,
            result.zero_shot,
            result.truth,
        )
        for result in shown.values()
    ]


def _validation_examples(folders: WorkFolders, zero_shot: Path) -> list[Example]:
    """Some cases that were not trained on; their zero-shot masks are all there is to compare with."""
    held_out = [case for case in read_cases(folders) if case.split == "validation" and case.label == "pseudo"]
    if not held_out:
        return []
    masks = find_given(zero_shot, [case.stem for case in held_out])
    return [Example(case.stem, Path(case.source), masks[case.stem]) for case in held_out[: 3 * _SHOWN]]


def _image(path: Path, output: Path) -> str:
    name = Path(os.path.relpath(path, output)).as_posix()
    return f'<p><img src="{html.escape(name)}" alt="{html.escape(path.stem)}"></p>'


def _gate_part(folders: WorkFolders, output: Path) -> list[str]:
    """What the quality gate kept and dropped, as pictures."""
    pictures = [path for path in (folders.kept_picture, folders.dropped_picture) if path.is_file()]
    return ["<h2>Pseudo-labels</h2>", *(_image(path, output) for path in pictures)] if pictures else []


def _results_part(results: Sequence[ImageResult], output: Path) -> list[str]:
    """Scores of the three methods, and what the uncertainty is worth."""
    found = summarise(results)
    rows = [f"<tr><th>{len(results)} test images<th>DSC<th>NSD ({found['nsd_tolerance_px']:g} px)</tr>"]
    for name in METHODS:
        cells = (f"<td>{v['mean']:.3f} ± {v['std']:.3f}" for v in (found["methods"][name][m] for m in ("dsc", "nsd")))
        rows.append(f"<tr><td>{_WORDS[name]}{''.join(cells)}</tr>")
    dsc = [result.dsc["ensemble"] for result in results]
    scores = {
        "boundary-normalised entropy": [result.score for result in results],
        "mean entropy, bits": [result.mean_entropy for result in results],
    }
    scatter = plot_scores(scores, dsc, output / "uncertainty.png")
    curves = {name: retention_curve([1 - value for value in dsc], values) for name, values in scores.items()}
    retention = plot_retention(curves, output / "retention.png")
    return [
        "<h2>Scores</h2>",
        f"<table>{''.join(rows)}</table>",
        "<h2>Uncertainty</h2>",
        _image(scatter, output),
        _image(retention, output),
    ]
