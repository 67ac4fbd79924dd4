"Films from end to end: shots and loops in Aseprite's form, a disk that is full, memory that stays flat"
import json, signal, subprocess, sys
from pathlib import Path
import numpy as np, pytest
from PIL import Image
from spritedx.cli import main
from spritedx.sources import make_clip
from spritedx.sprite import paste_centre, read
from spritedx.video import write_mp4

acts = {a: [paste_centre(f, (44, 44)) for f in make_clip(2, 'mage', a, 8, 32)] for a in ('greet', 'attack', 'walk')}
def big(x, k=4): x = x.repeat(k, 0).repeat(k, 1); return np.where(x[..., 3:]>0, x[..., :3], [255, 0, 255]).astype(np.uint8)
def film(path, cycles=dict(greet=1.5, attack=2, walk=2.5), hold=2):
    "Three shots of one character; what each frame is drawn from"
    xs = [acts[a][t//hold%8] for a,c in cycles.items() for t in range(round(8*hold*c))]
    write_mp4([big(x) for x in xs], path, 24, crf=14); return xs

@pytest.fixture
def here(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path); monkeypatch.delenv('SPRITEDX_DATA', raising=False); return tmp_path

def cells(j, x): return [x[b['y']:b['y']+b['h'], b['x']:b['x']+b['w']] for f in j['frames'] for b in [f['frame']]]

def test_a_film_becomes_a_sheet_as_aseprite_exports_it(here, capsys):
    "Frames in order, times in ms, a tag for each shot, the loop cut to its period; every format has the same pictures and the same times"
    xs = film('a.mp4')
    assert main(['clip', 'a.mp4', '-o', 'out', '--no-network', '--shots', 'greet,attack,walk', '--loop', 'walk', '--report', 'r.json'])==0, capsys.readouterr()
    j,x = json.loads(Path('out/a.json').read_text()),read('out/a.png').pixels[0]
    assert set(j)=={'frames', 'meta'} and {'app', 'version', 'image', 'format', 'size', 'scale', 'frameTags'}<=set(j['meta'])
    assert all(set(f)=={'filename', 'frame', 'rotated', 'trimmed', 'spriteSourceSize', 'sourceSize', 'duration'} for f in j['frames'])
    assert (j['meta']['image'], j['meta']['format'], j['meta']['size'])==('a.png', 'RGBA8888', dict(w=x.shape[1], h=x.shape[0]))
    tags = j['meta']['frameTags']; assert [(t['name'], t['from'], t['to'], t['direction']) for t in tags]==[('greet', 0, 23, 'forward'), ('attack', 24, 55, 'forward'), ('walk', 56, 71, 'forward')]
    ms = [f['duration'] for f in j['frames']]; assert len(ms)==72 and set(ms)=={41, 42} and abs(sum(ms)-3000)<3
    r = json.loads(Path('r.json').read_text())['files'][0]; assert [s['name'] for s in r['shots']]==['greet', 'attack', 'walk'] and r['shots'][2]['loop']['score']>.9 and r['shots'][0]['loop'] is None
    ys = cells(j, x)
    seen = lambda y: y[..., 3]>0
    for i,y in enumerate(ys[:56]): a,b = seen(paste_centre(y, (60, 60))),seen(paste_centre(xs[i], (60, 60))); assert (a&b).sum()/(a|b).sum()>.8, i
    for fmt in ('gif', 'apng', 'webp'):
        assert main(['clip', 'a.mp4', '-o', fmt, '--no-network', '--shots', 'greet,attack,walk', '--loop', 'walk', '--format', fmt])==0
        parts = {n: read(f'{fmt}/a-{n}.{fmt}') for n in ('greet', 'attack', 'walk')} # one animation a shot
        for t in tags:
            p,want = parts[t['name']],ys[t['from']:t['to']+1]; d = sum(ms[t['from']:t['to']+1])
            assert abs(sum(p.durations)-d)<=(10 if fmt=='gif' else 2), fmt # a GIF counts in hundredths
            shown = [i for i,m in enumerate(p.durations) for _ in range(max(1, round(m/41.67)))] # equal neighbours may be one longer frame
            assert len(shown)==len(want) and all(np.array_equal(p.pixels[i], y) for i,y in zip(shown, want)), fmt # nothing of a frame stays behind the next

def test_frames_that_are_empty_or_cut_off_are_told(here):
    "Of films and of animations; what came with its own alpha may touch the border"
    xs = [f.copy() for f in acts['walk'][:6]]; xs[2][:] = 0
    ys = [big(x) for x in xs]; c = int(np.flatnonzero(xs[4][..., 3].any(0)).mean()); ys[4] = np.roll(ys[4], 4*(44-c), 1); ys[4][:, :88] = (255, 0, 255) # half of it is out at the right
    write_mp4(ys, 'a.mp4', 24, crf=12); ims = [Image.fromarray(y) for y in ys]; ims[0].save('a.gif', save_all=True, append_images=ims[1:], duration=80)
    clear = [Image.fromarray(x.repeat(4, 0).repeat(4, 1)) for x in xs]; clear[0].save('b.webp', save_all=True, append_images=clear[1:], duration=80, lossless=True)
    zs = [x.repeat(4, 0).repeat(4, 1) for x in xs]; zs[4] = np.roll(zs[4], 4*(44-c), 1); zs[4][:, :88] = 0; board = np.where((np.indices(zs[0].shape[:2])//8).sum(0)[..., None]%2, 255, 204) # the same on a painted board
    drawn = [Image.fromarray(np.where(z[..., 3:]>127, z[..., :3], board).astype(np.uint8)) for z in zs]; drawn[0].save('c.gif', save_all=True, append_images=drawn[1:], duration=80)
    for n,cut in (('a.mp4', True), ('a.gif', True), ('b.webp', False), ('c.gif', True)):
        assert main(['clean', n, '-o', n[2:], '--no-network', '--report', 'r.json'])==0
        w = json.loads(Path('r.json').read_text())['files'][0]['warnings']
        assert any('nothing is seen in frame 2' in o for o in w), (n, w)
        assert any('leaves the picture at the right in frame 4' in o for o in w)==cut, (n, w)

@pytest.mark.parametrize('fmt', ['sheet', 'gif'])
def test_a_disk_that_is_full_takes_no_part_of_a_clip(here, fmt):
    "The system refuses to write on: one line, and no part of a sheet or an animation"
    film('a.mp4')
    code = '''import resource, signal, sys
from spritedx.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); sys.exit(main())'''
    p = subprocess.run([sys.executable, '-c', code, 'clip', 'a.mp4', '-o', 'out', '--no-network', '--format', fmt], cwd=here, capture_output=True, text=True, timeout=200)
    assert p.returncode==1 and p.stderr.count('\n')==1 and 'cannot write' in p.stderr, p.stderr
    assert not [q for q in Path('out').rglob('*') if q.is_file()]

def test_memory_does_not_grow_with_a_film(here):
    "Six hundred frames of 176x176, 74 MB of pixels, need hardly more than sixty do"
    if not Path('/proc/self/status').exists(): pytest.skip('memory is read from /proc')
    walk = [big(x) for x in acts['walk']]; write_mp4((walk[i%8] for i in range(60)), 'short.mp4', 24); write_mp4((walk[i%8] for i in range(600)), 'long.mp4', 24)
    code = '''import sys
from spritedx.cli import main
def peak(): return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])/1024
assert main(['clip', 'short.mp4', '-o', 'a', '--no-network'])==0; a = peak()
assert main(['clip', 'long.mp4', '-o', 'b', '--no-network'])==0; print(peak()-a)'''
    p = subprocess.run([sys.executable, '-c', code], cwd=here, capture_output=True, text=True, timeout=300); assert p.returncode==0, p.stderr
    assert float(p.stdout.split()[-1])<60 and len(read('b/long.png').pixels)==1

def test_numpys_own_threads_rest_while_a_clip_is_cleaned(monkeypatch):
    "They would take the cores of those that clean frames; afterwards they are as they were"
    from threadpoolctl import threadpool_info
    from spritedx import pipeline
    def blas(): return {o['num_threads'] for o in threadpool_info() if o['user_api']=='blas'}
    seen,matte_of,was = [],pipeline.matte_of,blas()
    monkeypatch.setattr(pipeline, 'matte_of', lambda *a: (seen.append(blas()), matte_of(*a))[1])
    pipeline.clean_frames([big(x) for x in acts['walk'][:3]], pipeline.Options(network=False))
    assert seen==[{1}] and blas()==was

def test_a_clip_written_as_palette_pictures_keeps_every_colour(tmp_path):
    "As many as a palette holds, and one more, which it does not"
    from spritedx.sprite import write_png
    for n in (256, 257):
        x = np.zeros((20, 20, 4), np.uint8); x[..., 3] = 255; x.reshape(-1, 4)[:n, :2] = np.stack([np.arange(n)//16, np.arange(n)%16], -1)[::-1]; x[-1] = x[0] # the rest repeats
        write_png(x, tmp_path/'a.png', indexed=True); im = Image.open(tmp_path/'a.png')
        assert im.mode==('P' if n==256 else 'RGBA') and (np.asarray(im.convert('RGBA'))==x).all()
