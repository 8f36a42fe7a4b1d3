"""Runs every snippet of docs/python.md in its order, in an empty folder with one photo: `cargo xtask python-docs`.

    python docs/python_check.py --faithful target/debug/faithful
"""

import argparse
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def snippets(text):
    """Each snippet with its language and the number of its first line."""
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield found[1], found[2], text.count("\n", 0, found.start()) + 2


def check_versions(text):
    """Whether what is installed is what the page says; a build's own suffix (`+cu132`) does not count."""
    wrong = []
    for line in text.split("\n"):
        if line:
            name, wanted = line.split()
            got = importlib.metadata.version(name).split("+")[0]
            if got != wanted:
                wrong.append(f"{name} is {got}, the page says {wanted}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faithful", required=True, type=pathlib.Path, help="the program")
    parser.add_argument("--any-version", action="store_true", help="run with other versions than the page's")
    arguments = parser.parse_args()
    page = (ROOT / "docs" / "python.md").read_text()
    program = arguments.faithful.resolve(strict=True)
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("FAITHFUL_MODEL", None)
    names = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        shutil.copy(ROOT / "fixtures" / "scenes" / "dotted-star.png", "heron.png")
        for language, text, line in snippets(page):
            print(f"docs/python.md, line {line}: {language}", flush=True)
            if language == "text":
                wrong = check_versions(text)
                if wrong and not arguments.any_version:
                    sys.exit("; ".join(wrong) + " (--any-version runs it all the same)")
            elif language == "python":
                exec(compile(text, f"docs/python.md from line {line}", "exec"), names)
            elif language == "sh":
                subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True, env=environment)
            else:
                sys.exit(f"line {line}: a snippet of the language {language} is not run")
    print("every snippet ran")


if __name__ == "__main__":
    main()
