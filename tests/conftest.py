import os
from pathlib import Path
import pytest

os.environ.setdefault('MPLBACKEND', 'Agg')
repo = Path(__file__).resolve().parent.parent

@pytest.fixture(scope='session')
def root(): return repo
