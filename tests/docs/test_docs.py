"""Documentation is true: its Python blocks run, the paths it names exist, its lists are complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "models", tmp_path / "examples" / "models")
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(page, "python")))
    result = subprocess.run([sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", prose):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_architecture_names_every_module_and_none_that_is_not_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    source = ROOT / "src" / "graphrack"
    for room in ("formats", "graph", "engines", "."):
        for module in (source / room).glob("*.py"):
            if module.name not in ("__init__.py", "__main__.py"):
                assert any(
                    re.fullmatch(pattern.replace("*", ".*"), module.name)
                    for pattern in re.findall(r"`(?:[\w/]+/)?([\w*]+\.py)`", text)
                ), f"{room}/{module.name} is not on the page"
    for path in re.findall(r"`((?:formats|graph|ops|engines|cli)/[\w/]*\w\.py)`", text):
        assert (source / path).exists(), f"the page names {path}"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    page = (ROOT / "docs" / "dependencies.md").read_text()
    reasons = {name.strip() for row in re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE) for name in row.split(",")}
    wanted = list(project["project"]["dependencies"])
    for group in (*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()):
        wanted += group
    for requirement in wanted:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert any(r.split(" ")[0] == name[0] for r in reasons), f"{name[0]} has no line in docs/dependencies.md"


def test_newest_changelog_heading_is_the_version() -> None:
    import graphrack

    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert headings[0] == project["project"]["version"] == graphrack.__version__
