"""The tiny backbones and data, made once a process."""

from tests.tiny import bert, cache, data, llama, tiny_folder

__all__ = ["bert", "cache", "data", "llama", "tiny_folder"]
