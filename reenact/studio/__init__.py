"""The page in the browser: the same project, workflow and settings as the command line, behind a REST API."""
