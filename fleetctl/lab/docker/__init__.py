"""Virtual boards made of containers: Debian with systemd and sshd, on this processor or an emulated one."""
