"""How a program is started that is to notice when its terminal is closed."""

# Put before its words: whoever runs the tests under nohup has all that they start ignore it.
NOTICED = ["env", "--default-signal=HUP"]
