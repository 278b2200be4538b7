"""What is not built in tests, container, conda environment and cards of flows, agrees with what it stands for."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from s2vc.pipeline.flow import fingerprint, load_flow
from s2vc.pipeline.flow.checkpoints import BUILT_IN, flow_record

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

INSTRUCTION = re.compile(r"^(FROM|ARG|ENV|RUN|COPY|WORKDIR|CMD)\s+(.*)$")

OF_PIP_ALONE = {
    "ray",
    "ffmpeg-python",
    "imageio-ffmpeg",
    "simplejpeg",
    "isal",
    "kornia",
    "opencv-contrib-python-headless",
}
"""pip installs these into the conda environment."""

CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its arguments in one line."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [INSTRUCTION.match(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    return [(match[1], match[2]) for match in found if match]


def test_the_container_gets_every_folder_that_the_package_is_built_from() -> None:
    copied = {word for name, rest in instructions() if name == "COPY" for word in shlex.split(rest)[:-1]}
    links = {path.name for path in (ROOT / "src" / "s2vc").iterdir() if path.is_symlink()}
    assert len(links) >= 5 and links | {"src", "pyproject.toml", "README.md", "LICENSE"} == copied
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied and "*" in ignored


def test_the_container_s_arguments_are_used_and_its_command_is_there() -> None:
    found = instructions()
    for name, default in (rest.split("=", 1) for kind, rest in found if kind == "ARG"):
        assert default and any(f"${{{name}}}" in rest for _, rest in found), name
    extras = next(rest for kind, rest in found if kind == "ARG" and rest.startswith("EXTRAS=")).partition("=")[2]
    assert extras in PROJECT["optional-dependencies"]
    command = next(rest for kind, rest in found if kind == "CMD")
    assert yaml.safe_load(command)[0] in PROJECT["scripts"]
    torch = next(text for text in PROJECT["dependencies"] if text.startswith("torch"))
    assert any(f'"{torch}"' in rest for kind, rest in found if kind == "RUN")


def test_the_conda_environment_asks_for_what_the_package_asks_for() -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    asked = [item for item in content["dependencies"] if isinstance(item, str)]
    conda = {name: version for name, _, version in (item.partition(" ") for item in asked)}
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *extras["train"], *(text for text in extras["eval"] if "s2vc" not in text)]
    parts = [re.fullmatch(r"([\w-]+)(?:\[.*\])?(.*)", text) for text in needed]
    versions = {match[1]: match[2] for match in parts if match}
    assert len(versions) == len(needed)
    for name in versions.keys() - OF_PIP_ALONE:
        assert conda[CONDA_NAMES.get(name, name)] == versions[name], name
    assert PROJECT["requires-python"] == conda["python"].partition(",")[0]
    assert {"pip": ["-e .[all]"]} in content["dependencies"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_card_says_what_the_flow_is(name: str) -> None:
    page = (ROOT / "docs" / "flow-cards.md").read_text()
    _, heading, rest = page.partition(f"\n## {name}\n")
    assert heading, f"there is no card of {name}"
    card, flow = rest.partition("\n## ")[0], load_flow(name)
    assert f"`{fingerprint(flow)}`" in card and "**Limits.**" in card and "fitted on" in card
    assert f"{sum(p.numel() for p in flow.parameters()):,} parameters" in page
    if record := flow_record(name):
        clean, noisy = f"{record['bits_clean']:.3f}", f"{record['bits_noise']:.3f}"
        assert f"{clean} as they are, {noisy} with noise of {record['noise']}" in card
        assert f"{record['steps']} steps more, batches of {record['batch']}" in card
        assert f"{record['images']:,} held-out images" in card
        assert f"mean {record['latent_mean']:.4f}, deviation {record['latent_std']:.3f}" in card
        assert f"{record['error_rms']:.1e}".replace("e-0", "e-") + " rms" in card
