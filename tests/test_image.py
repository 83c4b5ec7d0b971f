"""The files of the Docker image and of the Space: what they copy exists, and port, license and settings agree."""

import re
from pathlib import Path

from headprune_core.cli.hosting import DEFAULT_DEMO, demo_settings

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "assets/docker/Dockerfile").read_text(encoding="utf-8")


def test_the_image_copies_files_that_exist_and_runs_as_an_ordinary_user():
    copied = [part for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.M) for part in line.split()]
    assert {"app.py", "headprune_core", "pages", "assets", ".streamlit", "requirements.txt"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    for script in re.findall(r"assets/docker/[\w.]+\.(?:sh|py)", DOCKERFILE):
        assert (ROOT / script).is_file()
    assert DOCKERFILE.index("USER user") < DOCKERFILE.index("ENTRYPOINT")
    assert "HEALTHCHECK" in DOCKERFILE


def test_the_image_pins_the_same_pytorch():
    pin = re.search(r"^torch==\S+$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)[0]
    assert f" {pin} " in DOCKERFILE


def test_the_image_holds_what_is_copied():
    ignored = (ROOT / "assets/docker/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert {"app.py", "LICENSE", "requirements.txt", "headprune_core", "pages", "assets"} <= kept


def test_the_space_opens_the_port_of_the_image():
    text = (ROOT / "assets/space/README.md").read_text(encoding="utf-8")
    front = dict(line.split(": ", 1) for line in text.split("---")[1].strip().splitlines())
    assert (front["sdk"], front["app_port"], front["license"]) == ("docker", "8501", "apache-2.0")
    assert f"EXPOSE {front['app_port']}" in DOCKERFILE
    assert len(front["short_description"]) <= 60  # the Hub's limit


def test_the_default_demo_offers_the_built_in_model_alone():
    settings = demo_settings(DEFAULT_DEMO)
    assert (settings.models, settings.datasets) == (("embedded",), ("embedded", "upload"))
