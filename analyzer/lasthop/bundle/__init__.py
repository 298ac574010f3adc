"""Bytes and places: opens what a customer sent, safely, and says which command each file is the output of."""

from .budget import Budget
from .model import Bundle
from .open import open_bundle

__all__ = ["Budget", "Bundle", "open_bundle"]
