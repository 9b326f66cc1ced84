"""Typed settings: one module per stage, gathered by `reenact.settings.workflow`.

Nothing here imports torch, OpenCV or LiteRT: the Snakefile reads settings before any job starts.
"""
