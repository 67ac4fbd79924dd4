"`spritedx train` as torchrun and `accelerate launch` start it: two processes that train as one, killed and started again"
import os, signal, subprocess, sys, time
import numpy as np, pytest
from safetensors.numpy import load_file
from spritedx.cli import main
from spritedx.core import SpriteDXError
from spritedx.recipes import run_recipe

torchrun = 'torch.distributed.run', '--standalone', '--nproc-per-node', '2'
accelerate = 'accelerate.commands.launch', '--multi_gpu', '--num_processes', '2', '--main_process_port', '0' # any free port; without a card these are two processes over gloo
def launch(*args, cwd, by=torchrun):
    env = {k: v for k,v in os.environ.items() if k!='SPRITEDX_DATA'}|dict(OMP_NUM_THREADS='1', HF_HOME=str(cwd), CUDA_VISIBLE_DEVICES='') # no settings of accelerate's from elsewhere
    return subprocess.Popen([sys.executable, '-m', *by, '-m', 'spritedx.cli', 'train', *map(str, args)], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def offspring(pid):
    "Processes that a process has started, and those that they have"
    out = subprocess.run(['ps', '-A', '-o', 'pid=,ppid='], capture_output=True, text=True, check=True).stdout
    of = {}
    for a,b in (map(int, l.split()) for l in out.splitlines()): of.setdefault(b, []).append(a)
    found = list(of.get(pid, []))
    for o in found: found += of.get(o, [])
    return found

def log(folder):
    "Epoch and losses; a run that goes on begins its part of the log with a heading, and has no numbers for what was done before"
    rows = [r.split(',') for r in (folder/'history.csv').read_text().splitlines()]
    return np.array([[float(v) for v in r[:3]] for r in rows if r[0].isdigit() and r[1].replace('.', '').isdigit()])

@pytest.fixture(scope='module')
def one(tmp_path_factory):
    "The run of one process"
    d = tmp_path_factory.mktemp('one')/'one'; run_recipe('smoke', d, workers=1, device='cpu')
    return d

def words(one, out): return 'ac', '--recipe', 'smoke', '-o', out, '--pools', one, '--workers', '1'

def alike(one, two, smooth=slice(None)):
    "The losses of every epoch, and the weights; the first process writes, and only it"
    a,b = log(one),log(two)
    assert a.shape==b.shape==(2, 3) and np.allclose(a[:, 2], b[:, 2], rtol=3e-3) and np.allclose(a[smooth], b[smooth], rtol=3e-3), (a, b)
    a,b = (load_file(o/'weights.safetensors') for o in (one, two))
    flat = lambda w: np.concatenate([w[k].astype('f4').ravel() for k in sorted(w)])
    assert np.linalg.norm(flat(a)-flat(b))<.01*np.linalg.norm(flat(a))
    assert sorted(o.name for o in two.iterdir())==['checkpoint.safetensors', 'history.csv', 'weights.safetensors']

def test_two_processes_are_one_run(one, tmp_path):
    "Per epoch the losses of one process; killed after an epoch, they go on"
    two = tmp_path/'two'
    p = launch(*words(one, two), cwd=tmp_path); end = time.monotonic()+300
    while not (two/'checkpoint.safetensors').exists(): assert p.poll() is None and time.monotonic()<end, p.communicate()[1][-2000:]; time.sleep(.02)
    for o in (p.pid, *offspring(p.pid)): os.kill(o, signal.SIGKILL)
    p.communicate()
    assert not (two/'weights.safetensors').exists(), 'it ended before it was killed'
    p = launch(*words(one, two), cwd=tmp_path); out,err = p.communicate(timeout=300)
    assert p.returncode==0, err[-2000:]
    assert out.count("'hash'")==1 and "'epochs_now': 1" in out
    alike(one, two, slice(1)) # fastai's smoothed loss of training begins anew with the second start

def test_accelerate_starts_the_same(one, tmp_path):
    "`accelerate launch`: two processes that know of each other, and the run is that of one"
    pytest.importorskip('accelerate', reason="accelerate is not installed: pip install 'spritedx[distributed]'")
    p = launch(*words(one, tmp_path/'two'), cwd=tmp_path, by=accelerate); out,err = p.communicate(timeout=300)
    assert p.returncode==0, err[-2000:]
    assert out.count("'hash'")==1 and "'epochs_now': 2" in out and "'processes': 2" in out
    alike(one, tmp_path/'two')

def test_accelerate_that_starts_one_process_for_two_is_told(tmp_path):
    "With --cpu it starts a single one, whatever number it was given"
    pytest.importorskip('accelerate', reason="accelerate is not installed: pip install 'spritedx[distributed]'")
    p = launch('ac', '--recipe', 'smoke', '-o', tmp_path/'out', cwd=tmp_path, by=('accelerate.commands.launch', '--cpu', '--num_processes', '2')); _,err = p.communicate(timeout=100)
    assert p.returncode and 'accelerate launch --multi_gpu --num_processes' in err and not (tmp_path/'out').exists()

def test_what_several_processes_lack_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('WORLD_SIZE', '2'); monkeypatch.setenv('RANK', '0')
    assert main(['train', 'birefnet', '-o', str(tmp_path)])==1 and 'for one process' in capsys.readouterr().err
    from spritedx import train
    monkeypatch.setitem(sys.modules, 'accelerate', None); monkeypatch.delitem(sys.modules, 'fastai.distributed', raising=False)
    monkeypatch.setattr(train, 'meet', lambda d=None: (0, 2))
    with pytest.raises(SpriteDXError, match=r"pip install 'spritedx\[distributed\]'"): train.together(type('L', (), dict(dls=type('D', (), dict(device=None)))))
