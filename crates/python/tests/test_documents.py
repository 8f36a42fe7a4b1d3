"""What the documents say runs, word for word."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, SCENES

PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def snippets(text):
    """The Python snippets of a document, with the number of their first line."""
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield found[1], text.count("\n", 0, found.start()) + 2


def run(path, folder, monkeypatch):
    for photo in SCENES.glob("*.png"):
        shutil.copy(photo, folder)
    shutil.copy(SCENES / "dotted-star.png", folder / "photo.png")
    monkeypatch.chdir(folder)
    names = {"__name__": "__main__"}
    count = 0
    for text, line in snippets(path.read_text()):
        exec(compile(text, f"{path.name} from line {line}", "exec"), names)
        count += 1
    return count


def test_the_package_s_readme(tmp_path, monkeypatch):
    assert run(PACKAGE / "README.md", tmp_path, monkeypatch) > 0


def test_the_project_s_readme(tmp_path, monkeypatch):
    assert run(ROOT / "README.md", tmp_path, monkeypatch) > 0


@pytest.mark.parametrize("example", sorted((PACKAGE / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(example, tmp_path, photo):
    done = subprocess.run([sys.executable, str(example), photo], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_types_are_complete(checker, tmp_path):
    pytest.importorskip(checker)
    if subprocess.run([sys.executable, "-m", checker, "--version"], capture_output=True).returncode != 0:
        pytest.skip(f"{checker} does not run here")
    import faithful_xai

    # A copy: beside an installed package lie others, which mypy would take for sources.
    installed = tmp_path / "sources" / "faithful_xai"
    without = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(pathlib.Path(faithful_xai.__file__).parent, installed, ignore=without)
    examples = str(PACKAGE / "examples")
    options = ["--strict", "--cache-dir", str(tmp_path / "cache")] if checker == "mypy" else ["--pythonpath", sys.executable]
    done = subprocess.run([sys.executable, "-m", checker, *options, examples, str(installed)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_everything_public_is_documented():
    import faithful_xai as fx

    for name in fx.__all__:
        if name != "__version__":
            assert getattr(fx, name).__doc__, name


def test_a_notebook_runs(tmp_path, photo):
    pytest.importorskip("nbconvert")
    pytest.importorskip("ipykernel")
    shutil.copy(photo, tmp_path / "photo.png")
    notebook = tmp_path / "first_maps.ipynb"
    shutil.copy(PACKAGE / "examples" / "first_maps.ipynb", notebook)
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", str(notebook)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "first_maps.html").read_text().count("data:image/png;base64") >= 2
