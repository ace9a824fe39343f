"""The command line `landscape`: one file for each verb, and the frame that reads arguments and writes answers."""

from lightning_landscape.command_line.program import main as main
