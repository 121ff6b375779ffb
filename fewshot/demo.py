"""The demonstration: a small CMNet learns on synthetic base classes and is scored on classes that it never saw.

Two networks are trained on the same frozen features and the same episodes and are evaluated on the same episodes: one
that compares the query with the support's prototype only, and one that also sees the map of partial optimal transport.
"""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace

from fewshot.checkpoint import load_checkpoint
from fewshot.evaluation.results import Result
from fewshot.records import choose_tasks, picture_networks, record_run, trained_weights
from fewshot.reporting.example import write_example
from fewshot.reporting.report import Listing, Paragraph, Report, Section, write_report
from fewshot.reporting.summaries import result_sections
from fewshot.run_config import RunConfig

PAGE = "index.html"
WEIGHTS = "partial-transport.safetensors"
BASELINE, PARTIAL = "prototype only", "partial transport"
"""The two networks, which differ in one field: whether the decoder sees the transport map."""


def configure_demo(config: RunConfig) -> dict[str, RunConfig]:
    """Give the runs of both networks, each in a folder of its own."""
    transports = {BASELINE: "none", PARTIAL: "partial"}
    return {
        name: replace(
            config,
            network=replace(config.network, transport=transport),
            output=config.output / name.replace(" ", "-"),
        )
        for name, transport in transports.items()
    }


def run_demo(config: RunConfig, *, commands: Sequence[str] = ()) -> dict[str, Result]:
    """Train, evaluate and report; whatever an interrupted demonstration had is taken up.

    Args:
        config: Of both networks, but for what they differ in.
        commands: What was typed, for the reports.

    Returns:
        The results of both networks.

    Raises:
        NonFiniteLossError: Training broke down.
        ValueError: The classes have too few images for the shots.
    """
    runs = configure_demo(config)
    results = {name: record_run(run, name=name, commands=commands) for name, run in runs.items()}
    networks = {name: load_checkpoint(trained_weights(run)).model for name, run in runs.items()}
    _, pool, specs = choose_tasks(config)
    write_example(config.data, pool, specs[0], config.output / "example")
    shutil.copyfile(trained_weights(runs[PARTIAL]), config.output / WEIGHTS)
    scores, *others = result_sections({name: [result] for name, result in results.items()}, commands=commands)
    sections = (scores, *picture_networks(networks, config), _how_to_try(), *others)
    summary = (
        "Both networks saw the same episodes and the same frozen features. They differ in the transport map alone."
    )
    write_report(Report("Few-shot segmentation by partial optimal transport", summary, sections), config.output / PAGE)
    return results


def _how_to_try() -> Section:
    words = ["fewshot", "predict", "--checkpoint", WEIGHTS, "--support", "example/support.png"]
    words += ["example/support_mask.png", "--query", "example/query.png", "--output", "prediction"]
    note = "From within this folder; example/query_mask.png is the truth."
    return Section("Try it", (Listing(shlex.join(words)), Paragraph(note)))
