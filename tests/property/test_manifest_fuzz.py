"""Two thousand damaged manifests: each is loaded or refused with its problems, and quickly."""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from fleetctl.errors import ManifestError
from fleetctl.manifest.loader import load

CASES = Path(__file__).parents[1] / "cases" / "manifest"
SEEDS = [
    (CASES / "base.yaml").read_bytes(),
    Path(__file__).parents[2].joinpath("fleetctl", "manifest", "starter.yaml").read_bytes(),
]
TOKENS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b": ",
        b", ",
        b"- ",
        b"? ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!python/object:os.system ",
        b"!x ",
    ),
    *(
        b"|\n",
        b">-\n",
        b"'",
        b'"',
        b"#",
        b"%",
        b"@",
        b"`",
        b"---\n",
        b"...\n",
        b"\t",
        b"\r\n",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
    ),
    *(
        b"null",
        b"no",
        b"1e999",
        b".nan",
        b"0x10",
        b"9" * 5000,
        b"-1",
        b"[[[[" * 30,
        b"{a: " * 40,
        b"\xc2\x85",
        b"\xe2\x80\xa8",
    ),
    *(
        b"include: ['*.yaml']\n",
        b"include: [/dev/zero]\n",
        b"<<<<<<< HEAD\n",
        b"\\",
        b"\\ud800",
        b"%YAML 3.0\n",
    ),
]

Mutation = Callable[[bytes, Random], bytes]


def flip_bytes(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def cut(data: bytes, random: Random) -> bytes:
    start, end = sorted(random.randrange(len(data)) for _ in range(2))
    return data[:start] + data[end:] if random.random() < 0.5 else data[:start]


def insert_tokens(data: bytes, random: Random) -> bytes:
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(data) + 1)
        data = data[:place] + random.choice(TOKENS) + data[place:]
    return data


def change_lines(data: bytes, random: Random) -> bytes:
    lines = data.splitlines(keepends=True)
    for _ in range(random.randint(1, 3)):
        one, other = random.randrange(len(lines)), random.randrange(len(lines))
        match random.randrange(4):
            case 0:
                lines[one], lines[other] = lines[other], lines[one]
            case 1:
                lines.insert(one, lines[other])
            case 2:
                lines[one] = b" " * random.randint(0, 8) + lines[one].lstrip(b" ")
            case _:
                lines[one] = b"\n"
    return b"".join(lines)


def change_words(data: bytes, random: Random) -> bytes:
    words = data.split(b" ")
    one, other = random.randrange(len(words)), random.randrange(len(words))
    words[one] = random.choice([words[other], random.choice(TOKENS), b""])
    return b" ".join(words)


def nest(data: bytes, random: Random) -> bytes:
    """Put a part of the document, or an alias to one, where another value was."""
    lines = data.splitlines(keepends=True)
    place = random.randrange(len(lines))
    key, colon, value = lines[place].partition(b": ")
    if not colon:
        return data + data
    anchored = key + b": &n " + value
    return b"".join([*lines[:place], anchored, *lines[place + 1 :], key.strip(b" {") + b"2: [*n, *n]\n"])


MUTATIONS: list[Mutation] = [flip_bytes, cut, insert_tokens, change_lines, change_words, nest]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_damaged_manifests_load_or_are_refused(mutation: Mutation, tmp_path: Path) -> None:
    """Damage of one sort, 340 times, alone or on top of another: never a traceback, never long."""
    random = Random(mutation.__name__)
    path = tmp_path / "fleet.yaml"
    refused = 0
    for round_ in range(340):
        data = mutation(random.choice(SEEDS), random)
        if round_ % 3 == 0 and data:
            data = random.choice(MUTATIONS)(data, random)
        path.write_bytes(data)
        started = time.process_time()
        try:
            load(path)
        except ManifestError as error:
            refused += 1
            assert all(str(problem).startswith(str(path)) for problem in error.problems)
            assert error.problems
        assert time.process_time() - started < 2.0, data
    assert refused > 100  # damage that is nearly always harmless tests nothing
