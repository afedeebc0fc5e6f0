"""As much of systemctl as the board uses, for tests: runs ExecStartPre and ExecStart of units in $UNITS."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path(os.environ["UNITS"])
LOADED = UNITS / "loaded"  # what daemon-reload has seen: systemd runs that, not what lies on disk


def running(unit):
    try:
        pid = int((UNITS / f"{unit}.pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, ValueError):
        return 0
    return 0 if state == "Z" else pid


def commands(unit, key):
    lines = (LOADED / unit).read_text().splitlines()
    return [line.split("=", 1)[1].split() for line in lines if line.startswith(f"{key}=")]


def stop(unit):
    pid = running(unit)
    if pid:
        os.kill(pid, signal.SIGTERM)
        while running(unit):
            time.sleep(0.01)


def restart(unit):
    stop(unit)
    with (UNITS / "journal").open("ab") as journal:
        for argv in commands(unit, "ExecStartPre"):
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=journal, stderr=journal, check=True)
        (argv,) = commands(unit, "ExecStart")
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=journal, stderr=journal, start_new_session=True
        )
    (UNITS / f"{unit}.pid").write_text(str(child.pid))


def main():
    verb, *words = [word for word in sys.argv[1:] if word != "--no-reload"]
    with (UNITS / "calls").open("a") as calls:
        print(verb, file=calls)
    if verb == "daemon-reload":
        LOADED.mkdir(exist_ok=True)
        for path in LOADED.iterdir():
            path.unlink()
        for path in UNITS.glob("*.service"):
            (LOADED / path.name).write_bytes(path.read_bytes())
    elif verb == "restart":
        restart(words[-1])
    elif verb == "stop":
        stop(words[-1])
    elif verb == "show":
        pid = running(words[-1])
        active, sub = ("active", "running") if pid else ("failed", "failed")
        again = UNITS / "restarts"  # that systemd made by itself
        count = again.read_text() if again.exists() else "0"
        print(f"ActiveState={active}\nSubState={sub}\nMainPID={pid}\nNRestarts={count}")
    elif verb == "reset-failed":
        (UNITS / "restarts").unlink(missing_ok=True)
    elif verb not in ("enable", "disable"):
        sys.exit(f"unknown verb {verb}")


main()
