"""What every stage stands on: command line, files, errors, processes, devices, and the fingerprint of the code."""
