"""Families of federations, a file each; `federations.py` beside this folder runs them.

To add rows: write a file here with ``CASES: dict[str, Case]`` (`frame.Case`), and name it in
``FAMILIES`` of ``federations.py``.
"""
