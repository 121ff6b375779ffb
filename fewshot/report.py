"""The report of a demonstration: a folder with scores, pictures, example files and a page that shows them together."""

import html
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from fewshot.data.sampling import EpisodeSpec, collate_episodes, mask_of_class
from fewshot.data.synthetic import LabelledImages
from fewshot.episode import Episode
from fewshot.evaluation import Evaluation
from fewshot.model.cmnet import CMNet
from fewshot.model.nodes import find_nodes
from fewshot.model.prediction import Prediction
from fewshot.model.prior import compute_prior
from fewshot.visualisation import draw_loss, draw_matching, draw_panels, draw_scores, save_figure, take_panel

PACKAGES = ("partialot", "torch", "lightning", "numpy")
PICTURED_TASKS = 6


@dataclass(frozen=True)
class Duration:
    """How long a stage took.

    Attributes:
        wall: Seconds on the clock.
        processor: Seconds of processor time, of this process and of those it started.
    """

    wall: float
    processor: float


@dataclass(frozen=True)
class Row:
    """One network of the comparison.

    Attributes:
        losses: Loss of each training step.
        evaluations: Scores by number of shots.
    """

    losses: tuple[float, ...]
    evaluations: Mapping[int, Evaluation]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        settings: Every choice that made it, as JSON can hold it.
        pretraining_losses: Loss of each step of the supervised stage; empty when its result was reused.
        rows: The networks by name, the baseline first.
        durations: What each stage took.
    """

    settings: Mapping[str, Any]
    pretraining_losses: tuple[float, ...]
    rows: Mapping[str, Row]
    durations: Mapping[str, Duration]


def write_report(
    run: Run, network: CMNet, data: LabelledImages, specs: Sequence[EpisodeSpec], checkpoint: Path, *, output: Path
) -> None:
    """Write everything that is worth looking at.

    Args:
        run: What was done, and what came out.
        network: The trained network, with a transport map, whose answers are drawn.
        data: The images it was evaluated on.
        specs: The evaluation episodes; the first of each class are drawn.
        checkpoint: Where the network's weights lie, inside `output`.
        output: The folder; made if it is missing.
    """
    output.mkdir(parents=True, exist_ok=True)
    (output / "scores.json").write_text(json.dumps(summarise_run(run), indent=2) + "\n", encoding="utf-8")
    save_figure(draw_scores({name: list_scores(row) for name, row in run.rows.items()}), output / "scores.png")
    save_figure(draw_loss({name: row.losses for name, row in run.rows.items()}), output / "loss.png")
    pictured = choose_tasks(specs)
    episode = collate_episodes(data, pictured)
    prediction = predict_with_prior(network, episode)
    panels = [take_panel(episode, prediction, task=task) for task in range(len(pictured))]
    save_figure(draw_panels(panels), output / "segmentations.png")
    save_figure(draw_matching(panels[0], prediction), output / "matching.png")
    write_example(data, pictured[0], output / "example")
    (output / "index.html").write_text(render_page(run, checkpoint), encoding="utf-8")


def list_scores(row: Row) -> dict[str, float]:
    """Name the scores of a row as tables and bars do."""
    scores: dict[str, float] = {}
    for shot, evaluation in row.evaluations.items():
        scores[f"mIoU, {shot}-shot"] = evaluation.scores.miou
        scores[f"FB-IoU, {shot}-shot"] = evaluation.scores.fb_iou
    return scores


def summarise_run(run: Run) -> dict[str, Any]:
    """Say in JSON's types what was scored and how it was made."""
    return {
        "rows": {
            name: {
                "final_loss": sum(row.losses[-50:]) / len(row.losses[-50:]),
                "evaluations": {f"{shot}-shot": asdict(evaluation) for shot, evaluation in row.evaluations.items()},
            }
            for name, row in run.rows.items()
        },
        "settings": run.settings,
        "supervised_stage": {"reused": not run.pretraining_losses, "losses": run.pretraining_losses[::20]},
        "losses": {name: row.losses for name, row in run.rows.items()},
        "durations": {stage: asdict(duration) for stage, duration in run.durations.items()},
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
    }


def choose_tasks(specs: Sequence[EpisodeSpec], count: int = PICTURED_TASKS) -> tuple[EpisodeSpec, ...]:
    """Take the first episode of each class, up to `count`: no choice by what looks good."""
    first: dict[int, EpisodeSpec] = {}
    for spec in specs:
        first.setdefault(spec.class_id, spec)
    return tuple(list(first.values())[:count])


@torch.inference_mode()
def predict_with_prior(network: CMNet, episode: Episode) -> Prediction:
    """Answer an episode and add the prior mask for comparison where the network itself does without."""
    prediction = network.eval()(episode)
    if prediction.prior_map is not None:
        return prediction
    query, supports = network.extract(episode.query_image), network.extract(episode.support_images.flatten(0, 1))
    nodes = find_nodes(
        episode.support_masks,
        episode.query_valid,
        episode.support_valid,
        grid=(query.high.shape[-2], query.high.shape[-1]),
        support_grid=(supports.high.shape[-2], supports.high.shape[-1]),
    )
    prior = compute_prior(query.high, supports.high.unflatten(0, episode.support_masks.shape[:2]), nodes)
    return replace(prediction, prior_map=prior)


def write_example(data: LabelledImages, spec: EpisodeSpec, folder: Path) -> None:
    """Write an episode as the files that `fewshot predict` reads: images as PNG, masks black and white."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in (("query", spec.query), ("support", spec.supports[0])):
        mask = mask_of_class(data.labels[number][None], torch.tensor([spec.class_id]))[0] == 1
        _write_image(data.images[number].permute(1, 2, 0), folder / f"{name}.png")
        _write_image(255 * mask.to(torch.uint8), folder / f"{name}_mask.png")


def _write_image(pixels: UInt8[Tensor, "..."], path: Path) -> None:
    Image.fromarray(pixels.contiguous().numpy()).save(path)


def render_page(run: Run, checkpoint: Path) -> str:
    """Make the page that shows scores and pictures together; it refers to the files beside it."""
    names = list(list_scores(next(iter(run.rows.values()))))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{list_scores(row)[score]:.1f}</td>' for score in names)}</tr>"
        for name, row in run.rows.items()
    )
    seconds = sum(duration.wall for duration in run.durations.values())
    return PAGE.substitute(
        head=head,
        body=body,
        episodes=next(iter(next(iter(run.rows.values())).evaluations.values())).episodes,
        seed=run.settings["seed"],
        minutes=f"{seconds / 60:.1f}",
        checkpoint=html.escape(checkpoint.name),
    )


PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Few-shot segmentation by partial optimal transport</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; }
  th, td { border-bottom: 1px solid #ccc; padding: .3rem .8rem; text-align: right; }
  th:first-child, td:first-child { text-align: left; }
  img { max-width: 100%; }
  code { background: #f3f3f3; padding: .1rem .3rem; }
  pre code { display: block; overflow-x: auto; padding: .6rem; }
</style>
<h1>Few-shot segmentation by partial optimal transport</h1>
<p>Scores in per cent on classes that were never trained on: $episodes fixed episodes for each number of shots, the same
for both rows, counted at full resolution. Both heads saw the same training episodes (seed $seed) on the same frozen
features; they differ in whether the decoder sees the transport map. The 5-shot scores use the weights trained with one
shot. The run took $minutes minutes; <a href="scores.json">scores.json</a> says how it was made.</p>
<table><tr><th>network</th>$head</tr>$body</table>
<p><img src="scores.png" alt="scores as bars"></p>
<h2>Segmentations</h2>
<p>The first evaluation episode of each class, whatever came out. The prior mask is drawn for comparison; the network
does not read it.</p>
<p><img src="segmentations.png" alt="support, query, prior, transport map, prediction and truth of some episodes"></p>
<h2>Matching</h2>
<p>Where the mass of the object's nodes in the support goes in the query, first episode.</p>
<p><img src="matching.png" alt="lines from support nodes to query nodes"></p>
<h2>Training</h2>
<p><img src="loss.png" alt="loss by step"></p>
<h2>Try it</h2>
<pre><code>fewshot predict --checkpoint $checkpoint --support example/support.png example/support_mask.png \\
  --query example/query.png --output prediction</code></pre>
<p>from within this folder; <code>example/query_mask.png</code> is the truth.</p>
</html>
""")
