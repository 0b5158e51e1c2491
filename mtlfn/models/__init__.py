"""Backbones, the slots of the LoRA adapter, heads and strategies."""
