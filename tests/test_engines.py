"`spritedx clean` by several processes and by a Ray cluster: what it leaves is the same, whoever is killed"
import json, os, signal, subprocess, sys, threading, time
from collections import deque
from pathlib import Path
import numpy as np, pytest
from spritedx import files
from spritedx.cli import main
from spritedx.core import SpriteDXError
from spritedx.files import clean_many, workers_for
from spritedx.pipeline import Options
from spritedx.sources import make_sprite
from spritedx.sprite import write_png
from test_distributed import offspring
from test_reliability import tree

@pytest.fixture
def many(tmp_path):
    "32 pictures and a damaged file"
    for i in range(32): write_png(np.pad(make_sprite(i, size=24), ((3, 3), (3, 3), (0, 0))).repeat(6, 0).repeat(6, 1), tmp_path/'in'/f'{i:02d}.png')
    (tmp_path/'in'/'bad.png').write_text('no picture')
    return tmp_path/'in'

def told(path):
    "A report without times and places"
    r = json.loads(Path(path).read_text())
    return [{k: v for k,v in o.items() if k not in ('ms', 'ms_per_frame', 'times', 'output')} for o in r['files']],r['failed'],r['skipped']

def killer(d, found, which):
    "Kill one of the processes that clean, as soon as some results are there"
    end = time.monotonic()+120
    while time.monotonic()<end:
        if d.is_dir() and len(tree(d))>=3 and (ps := which()): os.kill(ps[0], signal.SIGKILL); found.append(ps[0]); return
        time.sleep(.01)

def under_fire(many, tmp_path, which, **kw):
    found = []; t = threading.Thread(target=killer, args=(tmp_path/'out', found, which)); t.start()
    b = clean_many([many], tmp_path/'out', Options(network=False), progress=False, **kw); t.join()
    assert found, 'nobody was killed'
    return b

def same(b, many, tmp_path):
    "As if one process had done it"
    a = clean_many([many], tmp_path/'alone', Options(network=False), progress=False)
    assert len(b.done)==32 and tree(tmp_path/'out')==tree(tmp_path/'alone')
    bare = lambda b: [{k: v for k,v in o.items() if k not in ('ms', 'ms_per_frame', 'times', 'output')} for o in b.done]
    assert bare(a)==bare(b) and a.failed==b.failed

def test_a_killed_process_costs_nothing(many, tmp_path):
    same(under_fire(many, tmp_path, lambda: workers_of(os.getpid()), workers=2), many, tmp_path)

def workers_of(pid): return [p for p in offspring(pid) if b'spawn_main' in read(p)]
def read(p):
    try: return Path(f'/proc/{p}/cmdline').read_bytes()
    except OSError: return b''

def fatal(path, opt):
    "Ends its process on one picture, as the system does where memory ends"
    if path.name=='07.png': os.kill(os.getpid(), signal.SIGKILL)
    return files.clean_file(path, opt)

def test_a_picture_that_kills_is_one_line(many, tmp_path):
    said = []
    b = clean_many([many], tmp_path/'out', Options(network=False), make=fatal, workers=2, say=said.append, progress=False)
    assert len(b.done)==31 and [Path(o['file']).name for o in b.failed]==['07.png', 'bad.png']
    assert any('07.png' in s and 'was killed twice' in s for s in said) and len(said)==2

def test_the_command_takes_processes_for_many_files(many, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda p: {0, 1}, raising=False)
    assert workers_for(33)==2
    for out,n in (('a', '0'), ('b', '1')): assert main(['clean', str(many), '-o', str(tmp_path/out), '--no-network', '--workers', n, '--report', str(tmp_path/f'{out}.json')])==1
    assert tree(tmp_path/'a')==tree(tmp_path/'b') and told(tmp_path/'a.json')==told(tmp_path/'b.json')
    assert capsys.readouterr().err.count('bad.png')==2

# --- Ray

def test_without_ray_the_extra_is_named(many, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert main(['clean', str(many), '-o', str(tmp_path/'out'), '--engine', 'ray'])==1
    err = capsys.readouterr().err
    assert "pip install 'spritedx[ray]'" in err and err.count('\n')==1 and not (tmp_path/'out').exists()

@pytest.fixture(scope='module')
def cluster():
    "Two nodes with a worker each; their address is in the environment, as a user would have it"
    os.environ.update(RAY_USAGE_STATS_ENABLED='0', RAY_raylet_start_wait_time_s='300') # before Ray is imported; a busy machine takes its time
    pytest.importorskip('ray', reason="Ray is not installed (pip install 'spritedx[ray]')")
    from ray.cluster_utils import Cluster
    node = dict(num_cpus=1, object_store_memory=80<<20)
    c = Cluster(initialize_head=True, head_node_args=dict(node, include_dashboard=False))
    try:
        c.add_node(**node); c.wait_for_nodes()
        os.environ['RAY_ADDRESS'] = c.address
        yield c
    finally:
        os.environ.pop('RAY_ADDRESS', None)
        import ray; ray.shutdown(); c.shutdown()

def ray_workers():
    "Processes in which a task of ours runs, on whatever node"
    out = subprocess.run(['ps', '-A', '-o', 'pid=,args='], capture_output=True, text=True, check=True).stdout
    return [int(l.split()[0]) for l in out.splitlines() if 'ray::_remote' in l]

def test_ray_and_a_killed_worker(cluster, many, tmp_path):
    "Two nodes share the folder, one loses a worker in the midst of it: the files and the report of a local run"
    same(under_fire(many, tmp_path, ray_workers, engine='ray'), many, tmp_path)

def test_ray_by_the_command(cluster, many, tmp_path, monkeypatch, capsys):
    "Relative paths, the environment's settings, --resume"
    monkeypatch.chdir(tmp_path); monkeypatch.setenv('SPRITEDX_MAX_SIDE', '100') # every picture is larger
    assert main(['clean', 'in', '-o', 'out', '--engine', 'ray', '--no-network'])==1
    assert capsys.readouterr().err.count('100')>=32 and not Path('out').exists()
    monkeypatch.delenv('SPRITEDX_MAX_SIDE')
