"""Built-in pictures: procedural objects with masks and part boxes, deterministic in the seed."""

from .scene import OBJECTS, TRANSFER, Picture, draw

__all__ = ["OBJECTS", "TRANSFER", "Picture", "draw"]
