"""Run by pyinfra: what the floor of `ansible_release` does by hand, as five operations a board."""

from pyinfra import host
from pyinfra.operations import files, server, systemd

data = host.data
files.put(name="Send", src=data.tar, dest=data.sent)
server.shell(name="Unpack", commands=[f"{data.unpack} < {data.sent}"])
files.link(name="Link", path=f"{data.root}/current", target=f"{data.root}/new")
systemd.service(name="Restart", service=data.unit, running=True, restarted=True, daemon_reload=True)
server.shell(name="Wait", commands=[data.wait])
