"""Which processes end with a login, by the control group they are in; the rest is shown on docker boards."""

import pytest

from fleetctl.device.login_session import ends_with_login


@pytest.mark.parametrize(
    ("group", "ends"),
    [
        ("0::/user.slice/user-1000.slice/session-3.scope", True),
        ("1:name=systemd:/user.slice/user-1000.slice/session-c2.scope", True),  # Mendel has both hierarchies
        ("9:pids:/docker/a8975fd3/user.slice/user-1000.slice/session-84.scope", True),
        ("0::/user.slice/user-0.slice/session-3.scope", False),  # KillExcludeUsers=root
        ("0::/system.slice/ssh.service", False),
        ("0::/system.slice/fleetctl-watch-712.scope", False),
        ("0::/", False),
    ],
)
def test_what_began_in_a_session_of_a_user_ends_with_it(group: str, ends: bool) -> None:
    """root's sessions are spared, and what systemd moved away belongs to no session any more."""
    assert ends is ends_with_login(group)
