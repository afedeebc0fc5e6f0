"""Keeps what a look at this board found, as a shell script that says it again where nothing changed since.

Python takes longer to start than a board at rest takes to be compared. `state/look.sh` hashes every file of
the release, compares whatever else a look depends on by inode, time of change and size, and asks the service,
the clock and the sensors anew. Where anything is other it says nothing, and the verb `observe` looks again.
Losing the script costs that and nothing else.
"""

from __future__ import annotations

import json
import os
import time
from typing import List, Mapping, NamedTuple, Optional

from .durable import rename_aside, write_aside
from .files import Json, names, words_of
from .healthz import healthz, state_of
from .layout import LOOK, Board
from .loader import COMPILED, FOLDED, folded
from .survey import places_of
from .unit_files import drop_in_folders

_SETTLED_S = 2  # stamps count whole seconds: what changed in this one may change again under the same stamp

# For bash, which alone among shells has /dev/tcp; in the locale C, and in UTC. $1 is the key that the caller
# asks by; $2 stands for / in tests. What it prints is read by `transports/kept_look.py`.
_SAY_AGAIN = r"""
shopt -s nullglob
heat= throttled=
[ "$1" = "$key" ] || exit 1
read -r now < "$2/proc/sys/kernel/random/boot_id"
for file in "$2"/dev/apex_*; do now+=" ${file##*/}"; done
for file in "$2"/sys/bus/usb/devices/*/id{Product,Vendor}; do read -r word < "$file" && now+=" $word"; done
[ "$now" = "$devices" ] || exit 1
[ "$(stat -c '%i %Z %s %n' -- "${places[@]}" 2> /dev/null)" = "$stamps" ] || exit 1
cd "$release" && [ "$(sha256sum -- "${files[@]}" 2> /dev/null)" = "$sums" ] || exit 1
exec 3<> "/dev/tcp/$host/$port" || exit 1
printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3
IFS= read -r -d '' -t 2 said <&3
case $said in HTTP/1.?' 200 '*'}') said=${said##*$'\n'} ;; *) exit 1 ;; esac
[ "$said" != "$service" ] || said=
while read -r word memory _ && [ "$word" != MemAvailable: ]; do memory=; done < "$2/proc/meminfo"
read -r uptime _ < "$2/proc/uptime"
read -r load _ < "$2/proc/loadavg"
for file in "$2"/sys/class/thermal/thermal_zone*/temp; do read -r word < "$file" && heat+=" $word"; done
type -P vcgencmd > /dev/null && throttled=$(timeout 5 vcgencmd get_throttled)
printf '~look %(%Y-%m-%dT%H:%M:%SZ)T\n' -1
printf '%s\n' "$reply" "$EUID $(stat -f -c '%a %f %S' -- "$root")"
printf '%s\n' "$memory" "$uptime" "$load" "$heat" "$throttled" "$said"
"""


class Ground(NamedTuple):
    """What a look stands on, besides the files of the release."""

    places: List[str]
    stamps: str
    devices: str
    newest: float  # when the last of them changed, in seconds since 1970


def ground(board: Board, python: str, unit: Optional[str], unit_folder: str, slash: str = "") -> Ground:
    """The present stamps of everything that `observe` reads of this board, apart from what is hashed.

    `python` is the interpreter that it surveys; `unit`, if there is one, lies in `unit_folder`.
    """
    state = ("good", "receipt.json", "pending.json", "adopted.json", "serial", "repaired", COMPILED)
    places = [
        *(board.root, board.current_link, *map(board.in_state, state)),
        *_with_files(board.trust),
        *_with_files(board.begun),
        board.blobs,
        *(drop_in_folders(unit, unit_folder) if unit else ()),
        *places_of(python),
    ]
    found = [(place, status) for place, status in ((place, _status(place)) for place in places) if status]
    lines = ["%d %d %d %s" % (s.st_ino, int(s.st_ctime), s.st_size, place) for place, s in found]
    newest = max((status.st_ctime for _, status in found), default=0.0)
    return Ground(places, "\n".join(lines), devices_of(slash), newest)


def keep_look(board: Board, stands: Ground, hashed: Mapping[str, str], key: str, reply: Json) -> None:
    """Keep a reply of `observe`, if the board is at rest: whole, confirmed, served, and settled.

    Args:
        stands: what the look stood on, before it and after it.
        hashed: the sha256 of each file that it found to be as it should, by path from the release's folder.
        key: what the caller will ask for it by. It names the modules that looked, and what they were asked.
    """
    if (
        time.time() - stands.newest < _SETTLED_S
        or reply["altered"]
        or reply["units"]
        or reply["pending"]
        or reply["service"]["state"] != "running"
        or reply["config"] is None
    ):
        return
    script = _script(board, stands, hashed, key, reply)
    path = board.in_state(LOOK)
    try:
        if script and script != _text(path):  # not synced: what a power cut leaves of it is not believed
            rename_aside(write_aside(path, script.encode("utf-8"), 0o644, is_synced=False), path)
    except (OSError, ValueError):
        pass  # no room, or not ours to write: the next look is taken as this one was


def _script(board: Board, stands: Ground, hashed: Mapping[str, str], key: str, reply: Json) -> Optional[str]:
    lasting = dict(reply, ok=True, time="", health={})
    said = folded(json.dumps(lasting, sort_keys=True)).strip()
    odd = any(mark in path for path in (*hashed, *stands.places) for mark in "\n\\")
    if odd or not said.startswith(FOLDED):
        return None  # `sha256sum` writes such names otherwise; and only what is deflated tells of damage
    service = healthz(reply["config"])
    if state_of(service) != reply["service"]:
        return None  # it started anew since the look
    from shlex import quote  # only where a look is kept

    values = {
        "key": key,
        "root": board.root,
        "host": str(reply["config"].get("host", "127.0.0.1")),
        "port": str(reply["config"].get("port")),
        "devices": stands.devices,
        "service": json.dumps(service),  # as it says it, and need not be told again
        "stamps": stands.stamps,
        "release": board.release(reply["current"]),
        "sums": "\n".join("%s  %s" % (sha256, path) for path, sha256 in hashed.items()),
        "reply": said,
    }
    lines = ["%s=%s" % (name, quote(value)) for name, value in values.items()]
    for name, paths in (("places", stands.places), ("files", hashed)):
        lines.append("%s=(%s)" % (name, " ".join(map(quote, paths))))
    return "\n".join(lines) + _SAY_AGAIN


def _with_files(folder: str) -> List[str]:
    return [folder, *(os.path.join(folder, name) for name in names(folder))]


def devices_of(slash: str) -> str:
    """What is plugged in, since when this system runs: as the script puts it together."""
    usb = slash + "/sys/bus/usb/devices"
    words = words_of(slash + "/proc/sys/kernel/random/boot_id")[:1]
    words += [name for name in names(slash + "/dev") if name.startswith("apex_")]
    for name in ("idProduct", "idVendor"):
        words += [word for port in names(usb) for word in words_of("%s/%s/%s" % (usb, port, name))[:1]]
    return " ".join(words)


def _status(place: str) -> Optional[os.stat_result]:
    try:
        return os.lstat(place)
    except OSError:
        return None


def _text(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
