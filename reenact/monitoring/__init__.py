"""What only shows while a training goes on: statistics, TensorBoard, pictures, validation.

This room decides no result: its code is no part of a stage's fingerprint (`runtime.code_fingerprint`), and an edit of
it runs nothing again.
"""
