"""The manual: it builds strictly, its reference has everything, and its commands are ones that exist."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from long_matrices import takes

from fleetctl import errors
from fleetctl.cli import VERBS
from fleetctl.cli.manual import Part, commands, page
from fleetctl.report.manual import CommandDoc, ParameterDoc, man_page

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
KNOWN = {command.name: command for command in commands()}
GLOBAL = {"-h", "--help"}
PLACEHOLDERS = {"BOARD", "MODEL", "FILE", "VERB", "NAME", "..."}


def shown_commands(document: Path) -> list[list[str]]:
    """The words of every `$ fleetctl ...` in a console block, up to a pipe or a redirection."""
    text = document.read_text("utf-8").replace("\\\n", " ")
    return [_words(line) for line in re.findall(r"^ *\$ (?:\S+=\S+ )*fleetctl (.*)$", text, re.MULTILINE)]


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "@!=*,:+%^"
    words = []
    try:
        for word in lexer:
            if set(word) <= set("|>&;"):
                break
            words.append(word)
    except ValueError:  # a text in quotes that goes on in the next line
        pass
    return words


def command_of(words: list[str]) -> CommandDoc | None:
    """The verb that words begin with: two words where the verb has verbs of its own."""
    return KNOWN.get(" ".join(words[:2])) or KNOWN.get(words[0])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_shown_exists(document: Path) -> None:
    """Each verb and each option in the documents' consoles is one that the program has."""
    for words in shown_commands(document):
        if words[0].startswith("-") or words[0] in PLACEHOLDERS:
            continue
        command = command_of(words)
        assert command is not None, words
        options = {name for option in command.options for name in option.names} | GLOBAL
        cut = words[: words.index("--")] if "--" in words else words
        used = {word.partition("=")[0] for word in cut if re.match(r"--?[a-z]", word)}
        assert used <= options, (words, used - options)


def test_commands_are_found_where_they_are_shown() -> None:
    """Else every one that is shown would exist."""
    assert {"plan", "rollout"} <= {words[0] for words in shown_commands(DOCUMENTS[0])}


def test_the_reference_has_every_verb() -> None:
    """Verbs of verbs too, each with all of its options."""
    text = page(Part.CLI)

    assert {name.split()[0] for name in KNOWN} == set(VERBS)
    for command in KNOWN.values():
        section = text.split(f"\n## fleetctl {command.name}\n")[1].split("\n## ")[0]
        assert [] == [o.names for o in command.options if f"`{o.names[0]}`" not in section]


def test_the_reference_has_every_exit_code() -> None:
    """Each kind of error with its number and its sentence."""
    text = page(Part.EXITS)
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.FleetError)]

    assert [] == [kind for kind in kinds if f"| {kind.exit_code} | `{kind.__name__}` |" not in text]
    assert [] == [code for code in (0, 1, 2, 70) if f"| {code} |" not in text]


def test_the_man_page_is_text() -> None:
    """No word of a help text is taken for a request or an escape of troff."""
    option = ParameterDoc((".x", "--path"), "PATH", "", "'quoted\\fB \\ and -dashes-\n.SH not a heading")
    written = man_page([CommandDoc("verb", ".sh first\n\n'second", (), (option,))], "1")
    lines = written.splitlines()

    assert "\\&.sh first" in lines
    assert "\\&'second" in lines
    assert "\\&'quoted\\efB \\e and \\-dashes\\- .SH not a heading" in lines
    assert ".B \\&.x, \\-\\-path PATH" in lines
    assert all(f".SS fleetctl {verb}" in page(Part.MAN) for verb in ("status", "lab up", "models compare"))


def build_site(repository: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    """The command of `make docs`, which has to be as strict as it says."""
    (line,) = re.findall(r"\$\(BIN\)/(mkdocs .*)", (REPOSITORY / "Makefile").read_text("utf-8"))
    return subprocess.run(
        [sys.executable, "-m", *line.split(), "--site-dir", str(site)],
        cwd=repository,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """No page is out of reach, no link or heading is missing, and nothing is fetched from elsewhere."""
    done = build_site(REPOSITORY, tmp_path / "site")
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    home = (tmp_path / "site" / "index.html").read_text("utf-8")

    assert 0 == done.returncode, done.stderr
    assert {f"{path.stem}.html" for path in DOCUMENTS[1:]} <= pages
    assert {"reference/cli.html", "reference/exit-codes.html", "reference/json.html"} <= pages
    assert (tmp_path / "site" / "fleetctl.1").is_file()
    assert [] == re.findall(r'(?:src|<link[^>]*rel="stylesheet"[^>]*href)="(https?:[^"]+)"', home)


def test_a_page_that_cannot_be_found_ends_the_build(tmp_path: Path) -> None:
    """So does a link that leads nowhere."""
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    (tmp_path / "docs" / "stray.md").write_text("# Stray\n\n[nowhere](manifest.md#no-such-heading)\n")
    done = build_site(tmp_path, tmp_path / "site")

    assert 0 != done.returncode
    assert "stray.md" in done.stderr.split("not included in the")[1]
    assert "#no-such-heading" in done.stderr


def tutorial() -> list[tuple[str, int]]:
    """Every command of the tutorial with the exit status that it is to end in."""
    text = (REPOSITORY / "docs" / "tutorial.md").read_text("utf-8")
    lines = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    found = [re.fullmatch(r"(.*?)(?: +# exit (\d+))?", line) for line in lines]
    return [(each[1], int(each[2] or 0)) for each in found if each]


@takes("a training, and the whole tutorial")
@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.xdist_group("tutorial")
def test_the_tutorial_works(tmp_path: Path) -> None:
    """Typed line by line into one shell, every command ends as the text says."""
    script = ["trap '(fleetctl lab down) >/dev/null 2>&1' EXIT"]
    commands = tutorial()
    assert commands
    for command, status in commands:
        script += [
            f"{command}; got=$?",
            f"[ $got = {status} ] || {{ echo {shlex.quote(command)}: $got; exit 1; }}",
        ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )

    assert 0 == done.returncode, done.stdout[-2000:] + done.stderr[-2000:]
