"Every notebook runs from top to bottom, in a process of its own and without the sprite packs; a guide within two minutes"
import os, resource, subprocess, sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
notebooks = sorted(o for o in (root/'nbs').rglob('*.ipynb') if not any(p[0] in '._' for p in o.relative_to(root).parts))
run = 'import sys; from nbdev.test import nbdev_test; nbdev_test(sys.argv[1], n_workers=0)'

@pytest.mark.parametrize('nb', notebooks, ids=lambda o: str(o.relative_to(root/'nbs')))
def test_notebook(nb, tmp_path):
    env = {**os.environ, 'SPRITEDX_DATA': str(tmp_path)}
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) # s of processors, which other work on the machine does not change
    was = spent()
    r = subprocess.run([sys.executable, '-c', run, str(nb)], cwd=root, env=env, capture_output=True, text=True, timeout=900)
    assert r.returncode==0, f'{r.stdout[-4000:]}\n{r.stderr[-8000:]}'
    assert 'Success.' in r.stdout, f'nothing ran: {r.stdout}{r.stderr}'
    if nb.parent.name=='guides': assert spent()-was<120, f'{nb.name} computed for {spent()-was:.0f} s'
