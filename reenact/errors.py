"""The one exception that users are meant to read."""


class UserError(Exception):
    """A mistake in settings or media. The message names the file or setting, its value, and what to do."""
