"What must not break: strange pictures, damaged files, killed runs, full disks, two runs at once, memory over many pictures"
import os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from spritedx.cli import main
from spritedx.core import SpriteDXError
from spritedx.files import clean_many
from spritedx.grid import find_grid, sample
from spritedx.key import despill, estimate_key, key_matte
from spritedx.palette import extract, snap
from spritedx.pipeline import Options, clean
from spritedx.sources import make_sprite
from spritedx.sprite import fit, read, write_gif, write_png, write_webp
from spritedx.tiles import tiled
from spritedx.weights import load_weights
import fuzz

# --- every way in for a picture

few = st.sampled_from([0, 1, 90, 127, 128, 254, 255])
pictures = st.tuples(st.integers(8, 28), st.integers(8, 28), st.sampled_from([3, 4])).flatmap(lambda s: arrays(np.uint8, s, elements=few, fill=few))
often = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

@often
@given(pictures)
def test_clean_gives_pixels_or_says_why(x):
    try: s = clean(x, network=False)
    except SpriteDXError as e: assert len(str(e).splitlines())==1; return
    p = s.pixels
    assert p.dtype==np.uint8 and p.shape[-1]==4 and set(np.unique(p[..., 3]))<={0, 255} and not p[p[..., 3]==0].any()

@often
@given(pictures)
def test_parts_of_the_road_take_any_picture(x):
    x = np.dstack([x, np.full(x.shape[:2], 255, np.uint8)])[..., :4]
    assert sample(x, g := find_grid(x)).shape[1::-1]==g.size
    k = estimate_key(x); a = key_matte(x, k)
    assert a.shape==x.shape[:2] and 0<=a.min() and a.max()<=1
    assert (despill(x, k)[..., 3]==x[..., 3]).all()
    if x[..., 3].any():
        p = extract(x, 4); v = x[..., 3]>0
        assert len(p)<=4 and {tuple(c) for c in snap(x, p)[v][:, :3]}<={tuple(c) for c in p.colors}
    assert fit(x, 16)[0].shape==(16, 16, 4)
    assert np.abs(tiled(lambda o: o, [x], 128)[0]*255-x).max()<.01

@often
@given(x=pictures)
def test_what_is_written_is_read(tmp_path_factory, x):
    x = np.dstack([x, np.full(x.shape[:2], 255, np.uint8)])[..., :4]; d = tmp_path_factory.mktemp('x')
    x = np.where(x[..., 3:]>0, x, 0).astype(np.uint8)
    for put,name in ((write_png, 'a.png'), (write_webp, 'a.webp')): assert np.array_equal(read(put(x, d/name)).pixels[0], x)
    assert read(write_gif(x, d/'a.gif')).size==x.shape[1::-1]

# --- a stranger's files

@pytest.fixture(scope='module')
def files(tmp_path_factory): return fuzz.corpus(tmp_path_factory.mktemp('corpus'))

def test_fuzz_target_over_the_mutated_corpus(files, tmp_path):
    g,ok,n = np.random.default_rng(0),0,600
    for i in range(n):
        name = list(files)[i%len(files)]
        ok += fuzz.target(fuzz.mutated(files[name], g), name, tmp_path)>0
    assert 0<ok<n, 'the mutations damage nothing, or everything'
    assert all(fuzz.target(b, name, tmp_path) for name,b in files.items())

def test_500_damaged_files(files, tmp_path):
    "None stops the run, none leaves a part of a file"
    g,d = np.random.default_rng(1),tmp_path/'in'; d.mkdir()
    names = [o for o in files if not o.endswith('.mp4')]
    for i in range(500): (d/f'{i:03d}-{(n := names[i%len(names)])}').write_bytes(fuzz.mutated(files[n], g))
    said = []
    b = clean_many([d], tmp_path/'out', Options(network=False), say=said.append)
    assert len(b.done)+len(b.failed)==500 and len(said)==len(b.failed)>100 and len(b.done)>20
    assert not [o for o in b.failed if 'a fault in spritedx' in o['error']], [o for o in b.failed if 'a fault in' in o['error']][:3]
    made = [p for p in (tmp_path/'out').rglob('*') if p.is_file()]
    assert not [p for p in made if p.name.startswith('.')]
    for p in made:
        if p.suffix=='.png': read(p)

# --- runs that end early

def spawn(*args, cwd, before=''):
    env = os.environ|dict(OMP_NUM_THREADS='1'); env.pop('SPRITEDX_DATA', None)
    return subprocess.Popen([sys.executable, '-c', f'{before}\nimport sys; from spritedx.cli import main; sys.exit(main())', *map(str, args)], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def until(p, there, seconds=60):
    "Kill -9 as soon as something is there"
    end = time.monotonic()+seconds
    while not there() and p.poll() is None and time.monotonic()<end: time.sleep(.01)
    p.kill(); p.communicate()
    assert there(), 'it was killed before it had done anything'
    return p.returncode==-signal.SIGKILL

def tree(d): return {p.relative_to(d).as_posix(): p.read_bytes() for p in Path(d).rglob('*') if p.is_file() and not p.name.startswith('.')}

@pytest.fixture
def many(tmp_path):
    d = tmp_path/'in'; d.mkdir()
    for i in range(60): write_png(np.pad(make_sprite(i, size=24), ((3, 3), (3, 3), (0, 0))).repeat(6, 0).repeat(6, 1), d/f'{i:02d}.png')
    return d

def test_a_killed_batch_goes_on(many, tmp_path):
    assert main(['clean', str(many), '-o', str(tmp_path/'whole'), '--no-network'])==0
    out = tmp_path/'out'
    assert until(spawn('clean', many, '-o', out, '--no-network', cwd=tmp_path), lambda: out.is_dir() and len(tree(out))>3), 'it ended before it was killed'
    assert len(tree(out))<60
    assert main(['clean', str(many), '-o', str(out), '--no-network', '--resume'])==0
    assert tree(out)==tree(tmp_path/'whole')

def test_two_runs_into_one_folder(many, tmp_path):
    "Both end well, and every picture is whole"
    assert main(['clean', str(many), '-o', str(tmp_path/'whole'), '--no-network'])==0
    ps = [spawn('clean', many, '-o', tmp_path/'out', '--no-network', cwd=tmp_path) for _ in range(2)]
    assert [(p.communicate()[1], p.returncode) for p in ps]==[('', 0)]*2
    assert tree(tmp_path/'out')==tree(tmp_path/'whole')
    assert not [p for p in (tmp_path/'out').iterdir() if p.name.startswith('.')]

def test_a_disk_that_fills_up(many, tmp_path):
    "The system itself refuses to write on: one line a file, no part of one"
    limit = 'import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))'
    p = spawn('clean', many, '-o', tmp_path/'out', '--no-network', cwd=tmp_path, before=limit)
    out,err = p.communicate()
    assert p.returncode==1 and err.count('cannot write')==60 and err.count('\n')==60 and 'Traceback' not in err
    assert not [q for q in (tmp_path/'out').rglob('*') if q.is_file()]

def test_memory_is_flat(tmp_path):
    "A batch of 150 pictures needs no more than the first 50 did"
    d = tmp_path/'in'; d.mkdir()
    x = np.pad(make_sprite(5, size=24), ((3, 3), (3, 3), (0, 0))).repeat(6, 0).repeat(6, 1)
    for i in range(150): write_png(x, d/f'{i:03d}.png')
    code = f'''import sys
from spritedx.files import clean_many
from spritedx.pipeline import Options
from pathlib import Path
def mb(): return int(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1])/1024
seen = []
fs = sorted(Path({str(d)!r}).iterdir())
for i in range(0, 150, 50): clean_many(fs[i:i+50], {str(tmp_path/'out')!r}, Options(network=False), progress=False); seen.append(mb())
print(*seen)'''
    if not Path('/proc/self/status').exists(): pytest.skip('memory is read from /proc')
    a,b,c = map(float, subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split())
    assert c-a<12, (a, b, c)

def test_weights_are_never_unpickled(tmp_path):
    "A pickle under a weights file's name runs nothing"
    import pickle
    class Trap:
        def __reduce__(self): return os.mkdir, (str(tmp_path/'sprung'),)
    (tmp_path/'w.safetensors').write_bytes(pickle.dumps(Trap()))
    with pytest.raises(SpriteDXError, match='not a safetensors'): load_weights(tmp_path/'w.safetensors')
    assert not (tmp_path/'sprung').exists()

training = '''import sys
import numpy as np
from spritedx.acnet import ACSpec
from spritedx.train import Plan, train
pool = np.random.default_rng(0).integers(0, 256, (64, 64, 64, 8)).astype('u1')
print(train(Plan(ACSpec((8, 16), (1, 1), (1,), heads=2), epochs=6, batches=6, bs=8), [pool], [pool[:8]], sys.argv[1])['hash'])'''

def test_a_killed_training_goes_on(tmp_path):
    "The same weights to the last bit as a run that nobody stopped"
    def go(d): return subprocess.Popen([sys.executable, '-c', training, str(tmp_path/d)], env=os.environ|dict(OMP_NUM_THREADS='1'), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    def last(p): o,e = p.communicate(); assert p.returncode==0, e; return o.split()[-1]
    assert until(go('b'), (tmp_path/'b'/'checkpoint.safetensors').exists), 'it ended before it was killed'
    assert not (tmp_path/'b'/'weights.safetensors').exists()
    assert last(go('b'))==last(go('a'))
