"""What every test gets: no network, one thread, deterministic operations, and global generators left as found."""

import os
import random

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import pytest
import torch

torch.set_num_threads(1)

LONGEST = ("test_kill_matrix.py", "test_resume.py", "test_study_evidence.py", "test_report.py")  # a minute or more each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: two processes then end at about the same time."""
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))


@pytest.fixture(autouse=True)
def _fixed_numerics():
    """Deterministic operations on, global generators seeded."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
