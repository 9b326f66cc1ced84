"""The exceptions that end a stage with a message in place of a traceback."""

CONTINUE_STATUS = 75
"""Exit status of a stage that was told to stop and can go on: EX_TEMPFAIL of sysexits.h, `try again later`."""

NOTHING_SAVED = "nothing to save"
"""What such a stage prints where it had not begun to train; twice in a row, starting it again is in vain."""


class UserError(Exception):
    """A mistake in settings or media. The message names the file or setting, its value, and what to do."""


class InterruptedRun(Exception):
    """A signal asked the stage to stop; all is saved, and the same command goes on. Ends with CONTINUE_STATUS."""
