"What must not break: strange pictures, damaged files, killed runs, full disks, two runs at once, memory over many pictures"
import os, re, shutil, signal, subprocess, sys, time
from functools import lru_cache
from pathlib import Path
import numpy as np, polars as pl, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from spritedx import predict, runtime, session, video, widgets, writer
from spritedx.cli import main
from spritedx.core import SpriteDXError, cores
from spritedx.corrupt import corrupt, training_pair
from spritedx.files import clean_many
from spritedx.grid import find_grid, sample
from spritedx.key import despill, estimate_key, key_matte
from spritedx.metrics import score
from spritedx.palette import extract, snap
from spritedx.pipeline import Options, clean, clean_frames
from spritedx.sources import make_clip, make_sprite
from spritedx.sprite import fit, read, write_gif, write_png, write_webp
from spritedx.tiles import tiled
from spritedx.universe import Universe
from spritedx.video import write_mp4
from spritedx.weights import load_weights
from test_distributed import offspring
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

# each takes a picture (h, w, 4) and says whether what came of it is well-formed; a `SpriteDXError` of one line is an answer too
def sprite_like(p): return p.dtype==np.uint8 and p.ndim==3 and p.shape[-1]==4 and not p[p[..., 3]==0].any()
def unit(o, x): return o.shape==x.shape and np.isfinite(o).all() and 0<=o.min() and o.max()<=1
def share(v): return np.isnan(v) or 0<=v<=1

def whole_clip(x):
    s,r = clean_frames([x, x[:, ::-1], x], Options(network=False))
    return len({o.size for o in s})==1 and all(sprite_like(o.pixels) for o in s)

def in_a_film(x):
    xs = [x, x[:, ::-1]]*8; v = video.small(xs)
    l = video.find_loop(v, 4)
    return isinstance(video.clip_faults(xs), list) and (l is None or 0<=l.score<=1) and video.shots(v)[0][0]==0

@lru_cache(1)
def town(): return Universe.new(':memory:', 'Machi', seed=1)

def lives(x): r = writer.inscribe(town(), x); return town().entity(r.subject) is not None and not town().chain()

ways = dict(
    network=lambda x: sprite_like(clean(x).pixels), graph=lambda x: sprite_like(runtime.clean(x).pixels), clip=whole_clip,
    smooth=lambda x: clean(x, network=False, style='smooth').pixels.shape==x.shape, restore=lambda x: unit(predict.restore([x])[0], x), session=lambda x: unit(session.restore([x])[0], x),
    score=lambda x: share(score(x, x, full=True).exact) and share(score(x, x[::-1, :-1]).exact), corrupt=lambda x: np.array_equal(*(corrupt(x, 'on magenta', 3).img for _ in '12')),
    training=lambda x: all(o.shape==x.shape and o.dtype==np.uint8 for o in training_pair(x, 'x', 0, 1)), film=in_a_film,
    widgets=lambda x: widgets.compare(x, x[::-1]).pictures is not None, inscribe=lives)

@pytest.mark.parametrize('way', ways)
def test_every_way_in_answers(way):
    @settings(max_examples=4 if way in ('network', 'graph', 'restore', 'session') else 10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(pictures)
    def check(x):
        x = np.dstack([x, np.full(x.shape[:2], 255, np.uint8)])[..., :4]; was = x.copy()
        try: assert ways[way](x)
        except SpriteDXError as e: assert len(str(e).splitlines())==1
        assert np.array_equal(x, was), 'it changed what it was given'
    check()

# --- a stranger's files

@pytest.fixture(scope='module')
def files(tmp_path_factory): return fuzz.drawn(tmp_path_factory.mktemp('corpus'))

def test_the_corpus_and_blind_mutations_of_it(files, tmp_path):
    "Every file that the fuzzer found worth keeping is still read or refused; the same of files damaged at random"
    kept = fuzz.stored(); assert len(kept)>20 and {Path(n).suffix for n in kept}>={'.png', '.gif', '.webp', '.jpg', '.bmp', '.mp4'}
    for name,b in kept.items(): fuzz.target(b, folder=tmp_path)
    g,ok,n = np.random.default_rng(0),0,200
    for i in range(n):
        name = list(files)[i%len(files)]
        ok += fuzz.target(fuzz.mutated(files[name], g), name, tmp_path)>0
    assert 0<ok<n, 'the mutations damage nothing, or everything'
    assert all(fuzz.target(b, name, tmp_path) for name,b in files.items())

def guided(tmp_path, *args, before=''):
    here = Path(fuzz.__file__)
    code = f'import sys, runpy; sys.path.insert(0, {str(here.parent)!r}); sys.argv = [{str(here)!r}, *sys.argv[1:]]\n{before}\nrunpy.run_path({str(here)!r}, run_name="__main__")'
    # by way of a shell, which stays: a process counts the peak memory of whoever turned into it, and pytest's may be above the fuzzer's limit
    r = subprocess.run(['sh', '-c', '"$@"; exit $?', 'sh', sys.executable, '-c', code, *map(str, args)], cwd=tmp_path, env=os.environ|dict(OMP_NUM_THREADS='1'), capture_output=True, text=True, timeout=300)
    return r.returncode,r.stderr+r.stdout

def test_guided_by_coverage(tmp_path):
    "A fixed number of inputs, begun at the corpus, which reaches more of the readers than what was drawn does; and no fault"
    pytest.importorskip('atheris', reason='atheris has wheels for Linux on x86-64 alone; the corpus is read all the same')
    (tmp_path/'drawn').mkdir(); (tmp_path/'new').mkdir(); fuzz.drawn(tmp_path/'drawn')
    rc,err = guided(tmp_path, 'new', fuzz.CORPUS, 'drawn', '-runs=1200', '-seed=7')
    assert rc==0 and 'Done 1200 runs' in err, err[-3000:]
    first = int(re.search(r'INITED cov: (\d+)', err)[1])
    rc,err = guided(tmp_path, 'drawn', '-runs=0'); assert rc==0
    assert first>1.02*int(re.search(r'INITED cov: (\d+)', err)[1])>300, 'the corpus adds nothing to what is drawn, or nothing is instrumented'

def test_guidance_finds_a_planted_fault(tmp_path):
    "A PNG with a chunk that none of those drawn has breaks the reader: the fuzzer, which mends checksums and knows the kinds of chunks, finds it and fails"
    pytest.importorskip('atheris', reason='atheris has wheels for Linux on x86-64 alone')
    (tmp_path/'drawn').mkdir(); fuzz.drawn(tmp_path/'drawn')
    trap = """import spritedx.card as c
was = c.read_card
def trap(p):
    if b'iCCP' in open(p, 'rb').read(): raise ZeroDivisionError('planted')
    return was(p)
c.read_card = trap"""
    rc,err = guided(tmp_path, 'drawn', '-runs=4000', '-seed=7', before=trap)
    assert rc and 'ZeroDivisionError' in err

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

def spawn(*args, cwd, before='', **more):
    env = {k: v for k,v in os.environ.items() if k!='SPRITEDX_DATA'}|dict(OMP_NUM_THREADS='1')|more
    return subprocess.Popen([sys.executable, '-c', f'{before}\nimport sys; from spritedx.cli import main; sys.exit(main())', *map(str, args)], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def until(p, there, seconds=60):
    "Kill -9 as soon as something is there"
    end = time.monotonic()+seconds
    while not there() and p.poll() is None and time.monotonic()<end: time.sleep(.01)
    also = offspring(p.pid); p.kill(); p.communicate()
    assert there(), 'it was killed before it had done anything'
    while any(alive(o) for o in also): assert time.monotonic()<end, 'processes that it had started live on'; time.sleep(.05)
    return p.returncode==-signal.SIGKILL

def alive(pid):
    try: return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]!='Z'
    except OSError: return False

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

@pytest.mark.skipif(sys.platform!='linux' or cores()<2, reason='elsewhere a film is cleaned by threads')
@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_a_film_that_is_stopped_leaves_no_process(how, tmp_path):
    "Those that clean its frames end with the command, which says one line or nothing, and no part of a result is there"
    frames = [np.where(x[..., 3:]>0, x, np.uint8([255, 0, 255, 255])).repeat(8, 0).repeat(8, 1) for x in make_clip(0, 'mage', 'walk', 8, 32)]
    write_mp4(frames*10, tmp_path/'film.mp4')
    p = spawn('clean', 'film.mp4', '-o', 'out', cwd=tmp_path); also,end = [],time.monotonic()+60
    while len(also)<2 and p.poll() is None and time.monotonic()<end: also = offspring(p.pid); time.sleep(.01)
    assert len(also)>=2, 'it has no helpers'
    time.sleep(.5); p.send_signal(how); _,e = p.communicate(timeout=60)
    assert p.returncode==(130 if how==signal.SIGINT else -how) and len(e.strip().splitlines())==(how==signal.SIGINT), e
    while any(map(alive, also)): assert time.monotonic()<end, 'processes that it had started live on'; time.sleep(.05)
    assert not (tmp_path/'out').exists() or not tree(tmp_path/'out')

def test_a_killed_benchmark_goes_on(tmp_path):
    "No case is measured twice or left out, every number is that of a run nobody stopped, and the processes it had started end with it"
    argv = ['bench', '--set', 'procedural', '--model', 'none', '--condition', 'small', '--workers', '2', '--out']
    often = 'import functools, spritedx.bench as b\nb.measure = functools.partial(b.measure, every=.3)' # s between writings, or nothing would be there yet
    env = dict(SPRITEDX_DATA=str(tmp_path))
    parts = lambda: list((tmp_path/'run'/'parts').glob('*.parquet'))
    assert until(spawn(*argv, tmp_path/'run', cwd=tmp_path, before=often, **env), parts, 120), 'it ended before it was killed'
    kept = pl.concat([pl.read_parquet(f) for f in parts()])
    assert 0<len(kept)<32 and not (tmp_path/'run'/'cases.parquet').exists()
    for o in ('run', 'whole'): _,err = (p := spawn(*argv, tmp_path/o, cwd=tmp_path, **env)).communicate(timeout=300); assert p.returncode==0, err
    a,b = (pl.read_parquet(tmp_path/o/'cases.parquet') for o in ('run', 'whole'))
    assert a['case'].n_unique()==32 and a.drop('ms').equals(b.drop('ms'), null_equal=True)
    assert a.join(kept, on='case')['ms'].sort().equals(kept['ms'].sort()), 'what was measured before it was killed was measured again'
    assert sorted(tree(tmp_path/'run'))==sorted(tree(tmp_path/'whole'))

@pytest.fixture
def sprites(tmp_path):
    d = tmp_path/'in'; d.mkdir()
    for i in range(30):
        for j,x in enumerate((y := make_sprite(i, size=24), y[:, ::-1], y[..., [1, 2, 0, 3]], y[..., [2, 0, 1, 3]])): write_png(np.ascontiguousarray(x), d/f'{i:02d}{j}.png')
    return d

def test_a_killed_inscription_goes_on(sprites, tmp_path):
    "The same universe to the last row, and the same files, as when nobody stopped it"
    argv = lambda o: ['inscribe', sprites, '--universe', tmp_path/o/'machi.db', '-o', tmp_path/o/'out']
    (tmp_path/'a').mkdir(); (tmp_path/'b').mkdir()
    assert main(list(map(str, argv('a'))))==0
    out = tmp_path/'b'/'out'
    assert until(spawn(*argv('b'), cwd=tmp_path), lambda: out.is_dir() and len(tree(out))>3), 'it ended before it was killed'
    assert len(tree(out))<len(tree(sprites))
    _,err = (p := spawn(*argv('b'), cwd=tmp_path)).communicate(timeout=120); assert p.returncode==0, err
    with Universe.open(tmp_path/'a'/'machi.db') as a, Universe.open(tmp_path/'b'/'machi.db') as b: assert a.state()==b.state() and not b.chain()
    assert tree(out)==tree(tmp_path/'a'/'out')

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

@pytest.fixture
def disk():
    "Runs a shell script in which `disk WHAT` puts another file system, full after 40 kB or read-only, at ./there"
    if not shutil.which('unshare') or subprocess.run(['unshare', '-rm', 'true'], capture_output=True).returncode: pytest.skip('no file system can be put anywhere here: unshare -rm fails')
    small = 'full() { mount -t tmpfs -o size=40k tmpfs there; }\nreadonly_() { mount -t tmpfs -o ro tmpfs there; }\n'
    def go(script, cwd, *args):
        (Path(cwd)/'there').mkdir(exist_ok=True)
        env = {k: v for k,v in os.environ.items() if k!='SPRITEDX_DATA'}|dict(OMP_NUM_THREADS='1')
        cmd = f'spritedx() {{ {sys.executable} -m spritedx.cli "$@"; echo "exit $?"; }}\n'
        r = subprocess.run(['unshare', '-rm', 'sh', '-c', small+cmd+script, 'sh', *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
        return r.stdout,r.stderr
    return go

def test_a_small_disk_that_is_full(disk, many, tmp_path):
    "A real one: what fits is whole, what does not is one line, no part of a file is left; with room again, --resume does the rest"
    out,err = disk('full; spritedx clean "$1" -o there --no-network; ls -A there >names; mkdir kept; cp -r there/. kept', tmp_path, many)
    names = (tmp_path/'names').read_text().split()
    assert 'exit 1' in out and 0<len(names)<60 and not [n for n in names if n.startswith('.')]
    assert err.count('No space left')==err.count('\n')==60-len(names) and 'Traceback' not in err
    assert main(['clean', str(many), '-o', str(tmp_path/'kept'), '--no-network', '--resume'])==0
    assert main(['clean', str(many), '-o', str(tmp_path/'whole'), '--no-network'])==0
    assert tree(tmp_path/'kept')==tree(tmp_path/'whole')

words = [('clean "$1"/00.png "$1"/01.png -o there --no-network', 2), ('bench --set procedural --model none --limit 2 --workers 1 --out there/run', 1),
         ('inscribe "$1"/00.png --universe there/u.db -o there', 1), ('train ac --recipe smoke --workers 1 -o there/run', 1), ('demo -o there/demo', 1), ('generate knight -n 1 -o there/gen', 1)]

@pytest.mark.parametrize('command, lines', words, ids=lambda o: o.split()[0] if isinstance(o, str) else '')
def test_a_disk_that_only_reads(disk, many, tmp_path, command, lines):
    "Every command that writes says so in a line"
    out,err = disk(f'readonly_; SPRITEDX_DATA=. spritedx {command}', tmp_path, many)
    assert 'exit 1' in out and err.count('\n')==err.count('Read-only')==lines, err

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

def test_a_checkpoint_is_held_to_its_hash(tmp_path):
    "A run does not go on from a pickle, nor from a checkpoint of which one bit has changed; the weights it ends with are held to theirs"
    import pickle
    from spritedx.acnet import ACSpec
    from spritedx.session import read_tensors
    from spritedx.train import Plan, train
    pool = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 8)).astype('u1'); c,w = tmp_path/'checkpoint.safetensors',tmp_path/'weights.safetensors'
    def go(n): return train(Plan(ACSpec((8, 16), (1, 1), (1,), heads=2), epochs=n, batches=1, bs=4), [pool], [pool[:4]], tmp_path, 'cpu')
    def spoil(p): b = bytearray(p.read_bytes()); b[-1] ^= 1; p.write_bytes(b)
    assert go(1)['hash']==read_tensors(w)[1]['hash']
    kept = c.read_bytes(); spoil(c); spoil(w)
    for f in (lambda: go(2), lambda: load_weights(w), lambda: read_tensors(w)):
        with pytest.raises(SpriteDXError, match='damaged'): f()
    c.write_bytes(pickle.dumps({}))
    with pytest.raises(SpriteDXError, match='not a safetensors'): go(2)
    c.write_bytes(kept); assert go(2)['epochs_now']==1

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
