"""What every stage stands on: command line, files, errors, progress, devices, and the fingerprint of the code.

This room decides no result: its code is no part of a stage's fingerprint (`code_fingerprint`), and an edit of it runs
nothing again.
"""
