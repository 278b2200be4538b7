"""Ask the questions of one part, in a process of its own, and write each answer down before the next is asked.

python -m tests.gpu.asking NAME MODULE:FUNCTION PLACE OUT.json (PLACE is JSON; tests/gpu/run calls this)
"""

import dataclasses
import gc
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from s2vc.pipeline.storage import files
from tests.gpu.parts import Place, questions_of
from tests.gpu.processes import TAIL

ERROR, BEGUN = "error", "begun"


def main() -> None:
    name, function, place, out = sys.argv[1:]
    ask(name, function, place_from_text(place), Path(out))


def ask(name: str, function: str, place: Place, out: Path) -> None:
    """Ask what has no answer yet; what has failed or never ended before comes last. Every answer is written to the
    part's figures in OUT.json, an error as {"error": its last lines}."""
    questions = questions_of(function, place)
    figures = read_answers(out).get(name, {}).get("figures", {})
    write_part(out, name, {"asked": list(questions)})
    for what in sorted((q for q in questions if not is_answered(figures, q)), key=lambda q: q in figures):
        write_figure(out, name, what, {BEGUN: time.strftime("%H:%M:%S")})
        try:
            answer = questions[what]()
        except Exception:
            answer = {ERROR: traceback.format_exc()[-TAIL:]}
        write_figure(out, name, what, answer)
        print(f"{what}: {answer}", flush=True)
        free_memory()


def is_answered(figures: dict[str, Any], what: str) -> bool:
    """Say whether a question has an answer that is neither an error nor that it was begun, and never ended."""
    answer = figures.get(what)
    return what in figures and not (isinstance(answer, dict) and (ERROR in answer or BEGUN in answer))


def is_done(part: dict[str, Any]) -> bool:
    """Say whether all questions of a part have answers."""
    return "asked" in part and all(is_answered(part.get("figures", {}), what) for what in part["asked"])


def read_answers(out: Path) -> dict[str, Any]:
    return json.loads(out.read_text()) if out.exists() else {}  # type: ignore[no-any-return]


def write_part(out: Path, name: str, news: dict[str, Any]) -> None:
    """Write more of a part to OUT.json, at once and whole."""
    answers = read_answers(out)
    answers[name] = {**answers.get(name, {}), **news}
    files.write_text(out, json.dumps(answers, indent=1, default=str) + "\n")


def write_figure(out: Path, name: str, what: str, answer: Any) -> None:
    figures = read_answers(out).get(name, {}).get("figures", {})
    write_part(out, name, {"figures": {**figures, what: answer}})


def free_memory() -> None:
    """Give back what a question has left, so that the next one finds the memory it would find alone."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def place_as_text(place: Place) -> str:
    return json.dumps(dataclasses.asdict(place), default=str)


def place_from_text(text: str) -> Place:
    values = json.loads(text)
    images = values.pop("images")
    paths = {name: Path(values.pop(name)) for name in ("work", "out")}
    return Place(**paths, **values, images=Path(images) if images else None)


if __name__ == "__main__":
    main()
