"""Model types that `transformers` has no code for: importing this makes it know them, by the references of Tests/Goldens."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Goldens"))

import reference_nemotron_nas as reference  # noqa: E402,F401
