"The commands as a user meets them: what goes in, what comes out, and one clear line for everything that cannot be cleaned"
import io, json, os, shutil, struct, subprocess, sys, zlib
from importlib.metadata import entry_points
from pathlib import Path
import numpy as np, pytest
from PIL import Image, ImageFile
from spritedx import files
from spritedx.cli import main
from spritedx.core import settings
from spritedx.corrupt import corrupt, run
from spritedx.ledger import file_hash
from spritedx.palette import Palette
from spritedx.predict import restore, weights_path
from spritedx.sources import make_clip, make_sprite
from spritedx.sprite import Clip, Sprite, load_sprite, read, write_gif
from spritedx.video import write_mp4, write_webm

def padded(x, m=3): return np.pad(x, ((m, m), (m, m), (0, 0)))
def on(x, rgb): return np.where(x[..., 3:]>0, x[..., :3], np.array(rgb)).astype(np.uint8)
def larger(x, k): return x.repeat(k, 0).repeat(k, 1)
def pixels(path): return read(path).pixels[0]
def overlap(a, b): return (a&b).sum()/(a|b).sum()

hero = padded(make_sprite(5, kind='knight', size=32))
walk = [padded(x) for x in make_clip(3, kind='slime', animation='walk', n=3, size=24)]
ms = [80, 120, 200]

@pytest.fixture(scope='session')
def bad(): return corrupt(hero, 'on magenta', 3).img[..., :3]

@pytest.fixture
def here(tmp_path, monkeypatch):
    "A folder of its own to work in, without sprite packs"
    monkeypatch.chdir(tmp_path); monkeypatch.delenv('SPRITEDX_DATA', raising=False)
    return tmp_path

@pytest.fixture
def sh(here, capsys):
    "`spritedx ...`: exit status, lines of stdout, lines of stderr; nothing half-written ever stays"
    def sh(*args):
        rc = main([str(o) for o in args])
        o, e = capsys.readouterr()
        assert [p for p in here.rglob('.*')]==[], 'a temporary file is left'
        return rc, o.splitlines(), e.splitlines()
    return sh

@pytest.fixture
def fast(sh): return lambda *args: sh('clean', *args, '--no-network')

def tree(d='.'): return sorted(p.relative_to(d).as_posix() for p in Path(d).rglob('*') if p.is_file())

# --- the command itself

def command(code, *args, cwd, **kw):
    env = {k: v for k,v in os.environ.items() if k not in ('SPRITEDX_DATA', 'IN_TEST')}
    return subprocess.run([sys.executable, '-c', code, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, timeout=400, **kw)

entry = 'import sys; from spritedx.cli import main; sys.exit(main())'

def test_console_script(): assert [o.value for o in entry_points(group='console_scripts') if o.name=='spritedx']==['spritedx.cli:main']

def test_clean_in_a_process_of_its_own(here, bad):
    Image.fromarray(bad).save('bad.png')
    r = command(entry, 'clean', 'bad.png', '-o', 'new.png', cwd=here)
    assert (r.returncode, r.stderr)==(0, '')
    assert r.stdout.startswith('new.png: ') and r.stdout.count('\n')==1
    r = command(entry, 'clean', 'nobody.png', cwd=here)
    assert (r.returncode, r.stdout, r.stderr.count('\n'))==(1, '', 1)
    assert tree()==['bad.png', 'new.png']

def test_help_and_import_are_quick(here):
    code = '''import sys, spritedx
from spritedx.cli import main
try: main(['--help'])
except SystemExit as e: assert e.code==0
assert not {'torch', 'fastai', 'scipy', 'PIL'}&set(sys.modules), sorted(sys.modules)'''
    r = command(code, cwd=here)
    assert (r.returncode, r.stderr)==(0, '')
    assert all(o in r.stdout for o in ('clean', 'demo', 'train'))

@pytest.mark.parametrize('args', [[], ['clean'], ['clean', 'x.png', '--matte', 'maybe'], ['clean', 'x.png', '--format', 'bmp'], ['polish', 'x.png']], ids=' '.join)
def test_wrong_usage(here, capsys, args):
    with pytest.raises(SystemExit) as e: main(args)
    assert e.value.code==2 and 'usage: spritedx' in capsys.readouterr().err

def test_demo(here):
    "Without a network, and with nothing else than the package"
    offline = 'import socket\ndef no(*a, **k): raise OSError("no network")\nsocket.socket.connect = socket.getaddrinfo = no\n'
    r = command(offline+entry, 'demo', cwd=here)
    assert (r.returncode, r.stderr)==(0, '')
    for row in ('frames', 'native size', 'colours', 'exact pixels', 'per frame', 'weights', 'look at'): assert f'\n  {row}' in r.stdout
    d = here/'spritedx-demo'
    assert {f'{o}.{k}' for o in ('before', 'after', 'truth') for k in ('png', 'gif')}|{'sheet.png', 'sheet.json', 'compare.png', 'before.mp4'}==set(tree(d))
    n = len(json.loads((d/'sheet.json').read_text())['frames'])
    assert n>4 and all(len(read(d/f'{o}.gif'))==n for o in ('before', 'after', 'truth'))
    before, after, truth = (pixels(d/f'{o}.png') for o in ('before', 'after', 'truth'))
    assert before.shape[0]>4*truth.shape[0] and (before[..., 3]==255).all()
    assert np.abs(np.subtract(after.shape, truth.shape)).max()<=2

# --- a flow

def test_clean_with_a_flow(sh, bad):
    "Same seed, same bytes; another seed or other steps, another answer; the default is the regressor; weights of one's own are asked what they are"
    Image.fromarray(bad).save('bad.png'); shutil.copy(weights_path(model='flow'), 'mine.safetensors')
    def clean(*more):
        out = f'{len(tree())}.png'
        assert sh('clean', 'bad.png', '-o', out, *more)[::2]==(0, [])
        return Path(out).read_bytes()
    one = clean('--model', 'flow', '--steps', 2, '--seed', 1)
    assert one==clean('--model', 'flow', '--steps', 2, '--seed', 1)==clean('--model', 'flow', '--weights', 'mine.safetensors', '--steps', 2, '--seed', 1)==clean('--weights', 'mine.safetensors', '--steps', 2, '--seed', 1)
    others = [clean('--model', 'flow', '--steps', 2, '--seed', 2), clean('--model', 'flow', '--steps', 5, '--seed', 1), clean('--model', 'flow'), clean(), clean('--model', 'ac')]
    assert len({one, *others})==5 and others[3]==others[4]
    there = tree()
    one_line(sh('clean', 'bad.png', '-o', 'x.png', '--steps', 2), 'is no flow')
    one_line(sh('clean', 'bad.png', '-o', 'x.png', '--model', 'flow', '--weights', 'acnet.safetensors'), 'is no flow')
    one_line(sh('clean', 'bad.png', '-o', 'x.png', '--model', 'flow', '--steps', 0), '1 to 100')
    assert tree()==there

def test_flow_keeps_the_time_guardrail():
    "A frame that fills it, in the flow's own steps, is two thirds of the work that it is for the other network at most; and with the weights that ship its page measured that a clip of such frames stays below"
    from torch.utils.flop_counter import FlopCounterMode
    s, x, o = settings(), np.random.default_rng(0).integers(0, 256, (128, 128, 4)).astype(np.uint8), json.loads((Path(__file__).parents[1]/'data'/'flow'/'bench.json').read_text())
    def work(model):
        with FlopCounterMode(display=False) as c: restore([x], model=model)
        return c.get_total_flops()
    assert 0<work('flow')<.66*work('ac')
    assert o['ships']['sha256']==file_hash(weights_path(model='flow')) and 5*o['clip'][o['ships']['run']]['full']<2*s.max_clip_time_s # of processor time, 24 frames of 120, on two cores

# --- pictures

def test_a_corrupted_picture(sh, bad):
    "Native size, binary alpha, few colours, provenance, and the same bytes a second time"
    Image.fromarray(bad).save('bad.png')
    assert sh('clean', 'bad.png', '-o', 'new.png')[::2]==(0, [])
    x = pixels('new.png')
    assert np.abs(np.subtract(x.shape, hero.shape)).max()<=1
    assert set(np.unique(x[..., 3]))=={0, 255} and not x[x[..., 3]==0].any()
    assert load_sprite('new.png').colors<=64<len(np.unique(bad.reshape(-1, 3), axis=0))
    if x.shape==hero.shape: assert overlap(x[..., 3]>0, hero[..., 3]>0)>.8
    assert load_sprite('new.png').meta['source']=='bad.png'
    assert sh('clean', 'bad.png', '-o', 'again.png')[0]==0
    assert Path('again.png').read_bytes()==Path('new.png').read_bytes()
    assert sh('clean', 'new.png', '-o', 'twice.png')[0]==0
    assert np.array_equal(pixels('twice.png'), x), 'cleaning twice is not cleaning once'

def test_a_clean_sprite_is_left_as_it_is(sh):
    Sprite(hero).save('hero.png')
    rc, out, err = sh('clean', 'hero.png', '-o', 'new')
    assert (rc, err, len(out))==(0, [], 1)
    assert np.array_equal(pixels('new/hero.png'), hero)

@pytest.mark.parametrize('key', [(255, 255, 255), (0, 0, 0), (255, 0, 255), (0, 255, 0)], ids=['white', 'black', 'magenta', 'green'])
def test_a_clean_sprite_on_a_plain_background_is_cut_out(sh, key):
    "Its own colours, where they can be told from the background"
    Image.fromarray(on(hero, key)).save('x.png')
    assert sh('clean', 'x.png', '-o', 'y.png')[::2]==(0, [])
    x, v = pixels('y.png'), hero[..., 3]>0
    assert x.shape==hero.shape and overlap(x[..., 3]>0, v)>.85
    assert {tuple(c) for c in x[x[..., 3]>0]}<={tuple(c) for c in hero[v]}, 'colours that the picture does not hold'

@pytest.mark.parametrize('key', [(255, 0, 255), (255, 255, 255)], ids=['magenta', 'white'])
def test_a_sprite_larger_than_the_networks_frame_on_a_plain_background_has_no_grid(fast, key):
    "At native size already, where a generator's picture of that size would have one"
    x = padded(make_sprite(3, kind='dragon', size=128), 20)
    Image.fromarray(on(x, key)).save('x.png')
    assert fast('x.png', '-o', 'y.png', '--report', 'r.json')[::2]==(0, [])
    assert pixels('y.png').shape==x.shape and json.loads(Path('r.json').read_text())['files'][0]['grid']=='native'

@pytest.mark.parametrize('k', [2, 5])
def test_an_enlarged_sprite_comes_back_to_native_size(sh, k):
    Image.fromarray(larger(hero, k)).save('x.png')
    assert sh('clean', 'x.png', '-o', 'y.png')[::2]==(0, [])
    assert np.array_equal(pixels('y.png'), hero)

def png(w, h, depth, kind, rows, *more):
    "A PNG by hand: Pillow writes neither 16-bit colour nor a size without its pixels"
    def chunk(k, b): return struct.pack('>I', len(b))+k+b+struct.pack('>I', zlib.crc32(k+b))
    head = struct.pack('>IIBBBBB', w, h, depth, kind, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', head)+b''.join(chunk(*m) for m in more)+chunk(b'IDAT', zlib.compress(b''.join(b'\0'+r for r in rows)))+chunk(b'IEND', b'')

def as_bytes(im, kind, **kw): b = io.BytesIO(); im.save(b, kind, **kw); return b.getvalue()

def deep(x):
    v = x.astype('>u2')*257
    return png(x.shape[1], x.shape[0], 16, 6, [r.tobytes() for r in v])

def indexed(x):
    u, i = np.unique(x.reshape(-1, 4), axis=0, return_inverse=True)
    im = Image.frombytes('P', x.shape[1::-1], i.astype(np.uint8).tobytes()); im.putpalette(u[:, :3].tobytes())
    return im, u[:, 3].tobytes()

same = {
    '16-bit.png': lambda x: deep(x),
    'palette.png': lambda x: as_bytes(indexed(x)[0], 'PNG', transparency=indexed(x)[1]),
    'palette.gif': lambda x: as_bytes(indexed(x)[0], 'GIF', transparency=indexed(x)[1].index(0)),
    'rgba.webp': lambda x: as_bytes(Image.fromarray(x), 'WEBP', lossless=True, exact=True),
    'UPPER CASE ünd spaces.PNG': lambda x: as_bytes(Image.fromarray(x), 'PNG'),
    'a PNG by content.jpg': lambda x: as_bytes(Image.fromarray(x), 'PNG'),
}

@pytest.mark.parametrize('name', same)
def test_kinds_of_pictures(fast, name):
    Path(name).write_bytes(same[name](hero))
    assert fast(name, '-o', 'out')[::2]==(0, [])
    x = pixels(Path('out')/Path(name).with_suffix('.png'))
    v = hero[..., 3]>0
    assert np.array_equal(x[..., 3]>0, v)
    assert np.array_equal(x[v], hero[v])

@pytest.mark.parametrize('mode', ['LA', 'L', '1', 'I;16', 'RGB', 'CMYK', 'YCbCr'])
def test_kinds_of_colour(fast, mode):
    im, kind = Image.fromarray(larger(hero, 4)), {'RGB': 'BMP', 'CMYK': 'JPEG', 'YCbCr': 'JPEG'}.get(mode, 'PNG')
    if mode=='I;16': im = Image.fromarray((np.asarray(im.convert('L')).astype(np.uint16)*257))
    else: im = Image.fromarray(on(larger(hero, 4), (255, 255, 255))).convert(mode) if mode!='LA' else im.convert('LA')
    Path('x').write_bytes(as_bytes(im, kind, **(dict(quality=95) if kind=='JPEG' else {})))
    assert fast('x', '-o', 'y.png')[::2]==(0, [])
    x = pixels('y.png')
    truth = larger(hero, 4) if mode=='1' else hero # dithered at full size: its dots are what it is made of
    assert x.shape==truth.shape and .3<overlap(x[..., 3]>0, truth[..., 3]>0)
    if mode=='CMYK': assert np.abs(x[..., :3].astype(int)-hero[..., :3])[(x[..., 3]>0)&(hero[..., 3]>0)].mean()<24

def test_exif_rotated(fast):
    x = on(larger(hero[:-4], 4), (255, 0, 255))
    for turn in (1, 6):
        exif = Image.Exif(); exif[0x112] = turn
        Image.fromarray(x).save(f'{turn}.jpg', quality=95, exif=exif)
    assert fast('1.jpg', '6.jpg', '-o', 'out')[0]==0
    a, b = pixels('out/1.png'), pixels('out/6.png')
    assert a.shape!=b.shape and np.rot90(a, -1).shape==b.shape
    assert overlap(np.rot90(a, -1)[..., 3]>0, b[..., 3]>0)>.9

def test_smallest_and_longest(fast):
    Image.fromarray(hero[10:18, 10:18]).save('8.png'); Image.fromarray(larger(hero, 2)[:, 20:28].repeat(113, 0)[:8192]).save('8192.png')
    assert fast('8.png', '8192.png', '-o', 'out')[::2]==(0, [])
    assert pixels('out/8.png').shape==(8, 8, 4)

# --- options

def test_size(sh, bad):
    Image.fromarray(bad).save('bad.png')
    assert sh('clean', 'bad.png', '-o', 'new.png', '--size', '24')[0]==0
    assert max(pixels('new.png').shape[:2])==24

def test_palette_of_n(sh, bad):
    Image.fromarray(bad).save('bad.png')
    assert sh('clean', 'bad.png', '-o', 'new.png', '--palette', '6')[0]==0
    assert 1<load_sprite('new.png').colors<=6

@pytest.mark.parametrize('suffix', ['.hex', '.gpl', '.pal', '.png'])
def test_palette_file(fast, suffix):
    Image.fromarray(hero).save('hero.png')
    p = Palette.from_hex(['1a1c2c', '5d275d', 'b13e53', 'ffcd75', 'f4f4f4', '566c86']); p.save('my'+suffix)
    assert fast('hero.png', '-o', 'new.png', '--palette', 'my'+suffix)[::2]==(0, [])
    x = pixels('new.png')
    assert {bytes(c).hex() for c in x[x[..., 3]>0][:, :3]}<=set(p.hex)
    assert np.array_equal(x[..., 3], hero[..., 3])

def test_matte_none(sh, bad):
    Image.fromarray(bad).save('bad.png')
    assert sh('clean', 'bad.png', '-o', 'new.png', '--matte', 'none')[0]==0
    x = pixels('new.png')
    assert (x[..., 3]==255).all()
    r, g, b = x[0, 0, :3].astype(int)
    assert min(r, b)-g>100, 'the magenta is still there'

def test_matte_keep(sh):
    x = corrupt(hero, 'soft matte', 3).img
    Image.fromarray(x).save('bad.png')
    assert sh('clean', 'bad.png', '-o', 'new.png', '--matte', 'keep')[0]==0
    y = pixels('new.png')
    h, w = y.shape[:2]
    own = np.asarray(Image.fromarray(x[..., 3]).resize((w, h), Image.BOX))>127
    assert overlap(y[..., 3]>0, own)>.75

def test_matte_keep_of_a_picture_without_alpha(sh, bad):
    "There is nothing to keep: the picture stays full, and it is said"
    Image.fromarray(bad).save('bad.png')
    rc, out, _ = sh('clean', 'bad.png', '-o', 'new.png', '--matte', 'keep')
    assert rc==0 and any('no alpha to keep' in o for o in out)
    assert (pixels('new.png')[..., 3]==255).all()

def test_soft_alpha(sh):
    x = hero.copy(); x[8:12, ..., 3] //= 2
    Image.fromarray(x).save('glow.png')
    assert sh('clean', 'glow.png', '-o', 'soft.png', '--alpha', 'soft')[0]==0
    assert sh('clean', 'glow.png', '-o', 'hard.png')[0]==0
    assert set(np.unique(pixels('hard.png')[..., 3]))<={0, 255} and len(np.unique(pixels('soft.png')[..., 3]))>2

def test_report(sh, bad):
    Image.fromarray(bad).save('bad.png'); Path('no.png').write_text('no picture')
    rc, out, err = sh('clean', 'bad.png', 'no.png', '-o', 'out', '--report', 'deep/report.json')
    assert rc==1 and len(err)==1
    r = json.loads(Path('deep/report.json').read_text())
    assert [o['file'] for o in r['failed']]==['no.png'] and r['failed'][0]['error'] in err[0] and r['skipped']==[]
    f, = r['files']
    assert (f['file'], f['input'], f['frames'])==('bad.png', list(bad.shape[1::-1]), 1)
    assert Path(f['output'])==Path('out/bad.png') and tuple(f['native'])==load_sprite('out/bad.png').size
    assert f['grid']=='grid' and 0<=f['grid_confidence']<=1 and f['matte']=='key' and f['key'][0]+f['key'][4]=='ff' and f['network'] is True
    for p,n,size in zip(f['pitch'], f['native'], f['input']): assert abs(p*n-size)<p
    assert f['colours']==load_sprite('out/bad.png').colors and f['warnings']==[]
    assert {'matte', 'grid', 'sample', 'network', 'palette'}<=set(f['times']) and 0<sum(f['times'].values())<=f['ms']+1

def test_report_warns_of_what_is_no_pixel_art(sh):
    y, x = np.mgrid[:150, :200]
    Image.fromarray(np.dstack([x, y, (x+y)//2]).astype(np.uint8)).save('photo.jpg')
    rc, out, err = sh('clean', 'photo.jpg', '-o', 'new.png', '--report', 'r.json')
    assert (rc, err)==(0, [])
    notes = json.loads(Path('r.json').read_text())['files'][0]['warnings']
    assert any('may not be pixel art' in o for o in notes) and [o.removeprefix('  note: ') for o in out[1:]]==notes
    assert max(pixels('new.png').shape)==128

# --- where results go

def test_a_folder_is_kept_as_it_is_built(fast):
    for o in ('in/a.png', 'in/deep/a.png', 'in/deep/b.webp', 'in/.hidden.png', 'b/a.png'): Path(o).parent.mkdir(parents=True, exist_ok=True)
    for o in ('in/a.png', 'in/deep/a.png', 'in/deep/b.webp', 'b/a.png'): Image.fromarray(hero).save(o, lossless=True, exact=True)
    Path('in/notes.txt').write_text('no picture')
    rc, out, err = fast('in', 'b/a.png', '-o', 'out')
    assert (rc, err, out[-1])==(0, [], '4 cleaned')
    assert tree('out')==['a-2.png', 'a.png', 'deep/a.png', 'deep/b.png']

def test_out_is_a_folder_for_one_file(fast):
    Image.fromarray(hero).save('hero.webp', lossless=True, exact=True)
    assert fast('hero.webp')[0]==0
    assert fast('hero.webp', '-o', 'new')[0]==0
    Path('v1.0').mkdir(); assert fast('hero.webp', '-o', 'v1.0')[0]==0
    assert tree()==['cleaned/hero.png', 'hero.webp', 'new/hero.png', 'v1.0/hero.png']

@pytest.mark.parametrize('suffix', ['.png', '.apng', '.gif', '.webp'])
def test_out_is_a_file(fast, suffix):
    Image.fromarray(hero).save('hero.png')
    assert fast('hero.png', '-o', 'deep/er/new'+suffix)[::2]==(0, [])
    assert tree()==['deep/er/new'+suffix, 'hero.png']
    assert np.array_equal(pixels('deep/er/new'+suffix), hero)

def test_resume(fast):
    Path('in').mkdir()
    for o in 'abc': Image.fromarray(hero).save(f'in/{o}.png')
    Path('in/b.png').write_text('not yet a picture')
    assert fast('in', '-o', 'out')[0]==1
    was = {o: os.stat(f'out/{o}.png').st_mtime_ns for o in 'ac'}
    Image.fromarray(hero).save('in/b.png')
    rc, out, err = fast('in', '-o', 'out', '--resume')
    assert (rc, err, out[-1])==(0, [], '1 cleaned, 2 skipped')
    assert {o: os.stat(f'out/{o}.png').st_mtime_ns for o in 'ac'}==was and tree('out')==['a.png', 'b.png', 'c.png']

def test_interrupted(sh, monkeypatch):
    "What is done is kept, and the line says how to go on"
    Path('in').mkdir()
    for o in 'abc': Image.fromarray(hero).save(f'in/{o}.png')
    clean_file = files.clean_file
    def stop(path, *args):
        if path.name=='b.png': raise KeyboardInterrupt
        return clean_file(path, *args)
    monkeypatch.setattr(files, 'clean_file', stop)
    rc, _, err = sh('clean', 'in', '-o', 'out')
    assert rc==130 and len(err)==1 and '--resume' in err[0] and tree('out')==['a.png']

# --- clips

@pytest.fixture
def gif(here): return write_gif(Clip([Sprite(x) for x in walk], ms), 'walk.gif')

def sheet_frames(path):
    j, x = json.loads(Path(path).with_suffix('.json').read_text()), pixels(path)
    assert j['meta']['image']==Path(path).name and (j['meta']['size']['w'], j['meta']['size']['h'])==x.shape[1::-1]
    boxes = [f['frame'] for f in j['frames']]
    return [x[b['y']:b['y']+b['h'], b['x']:b['x']+b['w']] for b in boxes], [f['duration'] for f in j['frames']]

@pytest.mark.parametrize('fmt', [None, 'png', 'sheet', 'gif', 'apng', 'webp'])
def test_format_of_a_clip(fast, gif, fmt):
    "Every frame and its time; a clip written as PNG is a sheet"
    assert fast(gif, '-o', 'out', *(['--format', fmt] if fmt else []))[::2]==(0, [])
    sheet = fmt in (None, 'png', 'sheet')
    assert tree('out')==(['walk.json', 'walk.png'] if sheet else [f'walk.{fmt}'])
    xs, times = sheet_frames('out/walk.png') if sheet else (lambda f: (f.pixels, f.durations))(read(f'out/walk.{fmt}'))
    assert times==ms and all(np.array_equal(a, b) for a,b in zip(xs, walk, strict=True))

@pytest.mark.parametrize('fmt', ['png', 'sheet', 'gif', 'apng', 'webp'])
def test_format_of_a_still(fast, fmt):
    Image.fromarray(hero).save('hero.png')
    assert fast('hero.png', '-o', 'out', '--format', fmt)[::2]==(0, [])
    name = {'png': ['hero.png'], 'sheet': ['hero.json', 'hero.png']}.get(fmt, [f'hero.{fmt}'])
    assert tree('out')==name and np.array_equal(pixels(Path('out')/name[-1]), hero)

@pytest.mark.parametrize('suffix', ['.gif', '.apng', '.webp', '.png'])
def test_out_file_of_a_clip(fast, gif, suffix):
    assert fast(gif, '-o', 'new'+suffix)[::2]==(0, [])
    xs = sheet_frames('new.png')[0] if suffix=='.png' else read('new'+suffix).pixels
    assert len(xs)==len(walk)

@pytest.mark.parametrize('kind', ['APNG', 'WEBP'])
def test_animated_input(fast, kind):
    Sprite(hero).save('hero.png')
    Clip([Sprite(x) for x in walk], ms).save('walk.'+kind.lower())
    assert fast('walk.'+kind.lower(), '-o', 'new.gif')[::2]==(0, [])
    assert read('new.gif').durations==ms and len(read('new.gif'))==len(walk)

def test_video(sh):
    "One grid, one key and one palette for the whole film"
    recipe = [('enlarge', dict(pitch=6.)), ('paste', dict(kind='magenta', drift=.04, soften=1., spill=.1)), ('noise', dict(sigma=.01))]
    xs = [run(x, recipe, 'film', 1).rgb for x in walk]
    write_mp4(xs, 'walk.mp4', fps=10, crf=20)
    rc, out, err = sh('clean', 'walk.mp4', '-o', 'out', '--report', 'r.json')
    assert (rc, err)==(0, []) and '3 frames' in out[0]
    ys, times = sheet_frames('out/walk.png')
    assert times==[100]*3 and len({y.shape for y in ys})==1
    r = json.loads(Path('r.json').read_text())['files'][0]
    assert r['frames']==3 and r['matte']=='key'
    assert np.abs(np.subtract(ys[0].shape, walk[0].shape)).max()<=1
    v = np.concatenate([y[y[..., 3]>0] for y in ys])
    assert len(np.unique(v, axis=0))==r['colours']<=64

def test_video_with_alpha(fast):
    "180 px: a width whose last columns FFmpeg drops on the way from YUV to RGBA"
    write_webm([larger(x, 6) for x in walk], 'walk.webm', fps=10, crf=4)
    assert fast('walk.webm', '-o', 'out', '--report', 'r.json')[::2]==(0, [])
    ys, times = sheet_frames('out/walk.png')
    assert times==[100]*3 and all(y.shape==x.shape and overlap(y[..., 3]>0, x[..., 3]>0)>.95 for x,y in zip(walk, ys, strict=True))
    assert json.loads(Path('r.json').read_text())['files'][0]['matte']=='own alpha'

# --- what cannot be cleaned

def cut(b, share): return b[:int(len(b)*share)]

broken = {
    'no_picture.png': (lambda x: b'hello', 'is not a'),
    'no_film.mp4': (lambda x: b'hello', 'is not a film'),
    'truncated.png': (lambda x: cut(as_bytes(Image.fromarray(x), 'PNG'), .5), 'truncated'),
    'truncated.jpg': (lambda x: cut(as_bytes(Image.fromarray(x), 'JPEG'), .5), 'truncated'),
    'truncated.webp': (lambda x: cut(as_bytes(Image.fromarray(x), 'WEBP'), .5), 'truncated'),
    'truncated.bmp': (lambda x: cut(as_bytes(Image.fromarray(x), 'BMP'), .5), 'truncated'),
    'truncated.gif': (lambda x: cut(as_bytes(Image.fromarray(x).quantize(32), 'GIF'), .5), 'truncated'),
    'empty.png': (lambda x: b'', 'is empty'),
    'empty.mp4': (lambda x: b'', 'is empty'),
    'zero_size.png': (lambda x: png(0, 0, 8, 6, []), 'is not a'),
    'tiny.png': (lambda x: as_bytes(Image.fromarray(x[:7]), 'PNG'), 'smaller than 8'),
    'enormous.png': (lambda x: png(20000, 20000, 8, 6, [b'\0'*100]), 'larger than 8192'),
    'long.png': (lambda x: png(8193, 16, 8, 6, [b'\0'*100]), 'larger than 8192'),
    'transparent.png': (lambda x: as_bytes(Image.new('RGBA', (40, 40)), 'PNG'), 'fully transparent'),
    'hidden.png': (lambda x: as_bytes(Image.fromarray(np.dstack([x, np.zeros_like(x[..., :1])])), 'PNG'), 'fully transparent'),
    'flat.png': (lambda x: as_bytes(Image.new('RGB', (40, 40), (9, 99, 9)), 'PNG'), 'one flat colour'),
    'flat.jpg': (lambda x: as_bytes(Image.new('RGB', (40, 40), (9, 99, 9)), 'JPEG'), 'one flat colour'),
}

@pytest.mark.parametrize('name', broken)
def test_bad_input(sh, bad, name):
    make, says = broken[name]
    Path(name).write_bytes(make(bad))
    rc, out, err = sh('clean', name, '-o', 'out')
    assert (rc, out, len(err))==(1, [], 1), err
    assert err[0].startswith('spritedx: ') and name in err[0] and says in err[0]
    assert tree()==[name] and not Path('out').exists()

def test_enormous_picture_is_refused_before_decoding(sh, monkeypatch):
    def no(*a, **k): raise AssertionError('decoded')
    monkeypatch.setattr(ImageFile.ImageFile, 'load', no)
    Path('x.png').write_bytes(png(20000, 20000, 8, 6, [b'\0'*100]))
    assert 'larger than 8192' in sh('clean', 'x.png', '-o', 'out')[2][0]

def one_line(r, says):
    rc, out, err = r
    assert (rc, len(err))==(1, 1), err
    assert err[0].startswith('spritedx: ') and says in err[0], err

def test_no_such_file(sh): one_line(sh('clean', 'nobody.png', '-o', 'out'), 'no file nobody.png')

def test_empty_folder(sh):
    Path('empty/deep').mkdir(parents=True); Path('empty/notes.txt').write_text('x')
    one_line(sh('clean', 'empty', '-o', 'out'), 'no pictures or videos in empty')
    assert not Path('out').exists()

def test_unreadable(sh):
    os.symlink('loop.png', 'loop.png')
    one_line(sh('clean', 'loop.png', '-o', 'out'), 'cannot read loop.png')

nobody = pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid()==0, reason='root may read and write everything')

@nobody
def test_not_allowed_to_read(sh):
    Image.fromarray(hero).save('x.png'); os.chmod('x.png', 0)
    one_line(sh('clean', 'x.png', '-o', 'out'), 'cannot read x.png')

@nobody
@pytest.mark.parametrize('args', [['-o', 'shut'], ['-o', 'shut/x.gif'], ['-o', 'shut/deep/'], ['-o', 'y.png', '--report', 'shut/r.json']], ids=' '.join)
def test_not_allowed_to_write(fast, here, args):
    Image.fromarray(hero).save('x.png'); Path('shut').mkdir(mode=0o555)
    one_line(fast('x.png', *args), 'cannot write')

@pytest.mark.parametrize('args', [['-o', 'file/x.png'], ['-o', 'file/deep'], ['-o', 'y.png', '--report', 'file/r.json']], ids=' '.join)
def test_out_cannot_be_written(fast, args):
    "A file stands where a folder is wanted, for root too"
    Image.fromarray(hero).save('x.png'); Path('file').write_text('keep me')
    one_line(fast('x.png', *args), 'cannot write')
    assert Path('file').read_text()=='keep me' and set(tree())<={'file', 'x.png', 'y.png'}

def test_out_has_a_suffix_that_cannot_be_written(fast):
    Image.fromarray(hero).save('x.png')
    one_line(fast('x.png', '-o', 'y.bmp'), 'cannot write y.bmp')
    assert tree()==['x.png']

def test_demo_cannot_be_written(sh):
    Path('file').write_text('keep me')
    one_line(sh('demo', '-o', 'file'), 'file')
    assert Path('file').read_text()=='keep me'

@pytest.mark.parametrize('fmt', ['png', 'sheet', 'gif', 'apng', 'webp'])
def test_full_disk(fast, monkeypatch, fmt):
    "A write that fails leaves what was there before"
    Image.fromarray(hero).save('x.png'); Path('out').mkdir()
    old = Path('out')/{'sheet': 'x.png'}.get(fmt, f'x.{fmt}'); old.write_bytes(b'old')
    def full(*a, **k): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    one_line(fast('x.png', '-o', 'out', '--format', fmt), 'No space left')
    assert tree('out')==[old.name] and old.read_bytes()==b'old'

@pytest.mark.parametrize('args,says', [
    (['--palette', 'my.doc'], 'unknown palette file my.doc'), (['--palette', 'my.gpl'], 'no palette file my.gpl'), (['--palette', 'bad.gpl'], 'bad.gpl'),
    (['--palette', 'empty.hex'], 'empty.hex'), (['--palette', '0'], '1 to 256'), (['--palette', '300'], '1 to 256'),
    (['--size', '4'], 'size'), (['--size', 'huge'], 'size'), (['--size', '²'], 'size'), (['--palette', '²'], 'unknown palette file ²'), (['--weights', 'none.safetensors'], 'none.safetensors')], ids=lambda o: ' '.join(o) if isinstance(o, list) else '')
def test_bad_option(sh, bad, args, says):
    "One line for the whole batch, before any work"
    for o in 'ab': Image.fromarray(bad).save(f'{o}.png')
    Path('bad.gpl').write_text('no palette'); Path('empty.hex').write_text('')
    one_line(sh('clean', 'a.png', 'b.png', '-o', 'out', *args), says)
    assert not Path('out').exists()

def test_a_batch_goes_on(fast, bad):
    Path('in').mkdir()
    Image.fromarray(hero).save('in/a.png'); Image.fromarray(hero).save('in/z.png')
    for name,(make,_) in broken.items(): (Path('in')/name).write_bytes(make(bad))
    rc, out, err = fast('in', 'nobody.png', '-o', 'out')
    assert rc==1 and out[-1]==f'2 cleaned, {len(broken)+1} failed'
    assert len(err)==len(broken)+1 and all(o.startswith('spritedx: ') for o in err)
    for name in broken: assert sum(name in o for o in err)==1
    assert tree('out')==['a.png', 'z.png']

def test_a_batch_goes_on_past_a_fault_of_ours(fast, monkeypatch):
    "A picture that brings out a fault in the library costs its own result and no other"
    for o in 'abc': Image.fromarray(hero).save(f'{o}.png')
    clean_frames = files.clean_frames
    def faulty(xs, *args):
        faulty.n += 1
        if faulty.n==2: raise ZeroDivisionError('division by zero')
        return clean_frames(xs, *args)
    faulty.n = 0
    monkeypatch.setattr(files, 'clean_frames', faulty)
    rc, out, err = fast('a.png', 'b.png', 'c.png', '-o', 'out')
    assert rc==1 and out[-1]=='2 cleaned, 1 failed' and tree('out')==['a.png', 'c.png']
    assert len(err)==1 and 'b.png' in err[0] and 'division by zero' in err[0]

@pytest.mark.parametrize('args', [['x.png', '-o', 'x.png'], ['in', '-o', 'in'], ['in/x.png', '-o', 'in']], ids=' '.join)
def test_an_input_is_never_overwritten(fast, bad, args):
    Path('in').mkdir()
    for o in ('x.png', 'in/x.png'): Image.fromarray(bad).save(o)
    one_line(fast(*args), 'would be overwritten')
    assert np.array_equal(pixels('x.png')[..., :3], bad) and np.array_equal(pixels('in/x.png')[..., :3], bad)

# --- films as they come

def film(path, xs, codec='libx264', fmt='yuv420p', times=None, sound=False, rate=10, size=None):
    "Write a film; `times` in ms where the rate varies"
    import av; from fractions import Fraction
    with av.open(str(path), 'w') as out:
        s = out.add_stream(codec, rate=1000 if times else rate, options=dict(crf='4') if codec=='libx264' else {})
        s.height, s.width, s.pix_fmt = *(size or xs[0].shape[:2]), fmt
        if times: s.codec_context.time_base = Fraction(1, 1000)
        if sound: a = out.add_stream('aac', rate=44100, layout='mono')
        if not xs: out.start_encoding()
        for i,x in enumerate(xs):
            f = av.VideoFrame.from_ndarray(np.ascontiguousarray(x), format='rgba' if x.shape[2]==4 else 'rgb24')
            if times: f.pts, f.time_base = times[i], Fraction(1, 1000)
            out.mux(s.encode(f))
        out.mux(s.encode())
        for i in range(26 if sound else 0):
            w = av.AudioFrame.from_ndarray(np.sin(np.arange(1024)[None]/9).astype(np.float32), format='fltp', layout='mono'); w.sample_rate, w.pts = 44100, i*1024
            out.mux(a.encode(w))
        if sound: out.mux(a.encode())

steps = [larger(walk[i%3], 6) for i in range(6)] # 180 px, even; each frame differs from the last
backed = [on(x, (255, 0, 255)) for x in steps]

@pytest.fixture
def made(sh):
    "`spritedx clean` and `spritedx clip` of a film: frames, times and report of both, which must agree"
    def made(name):
        got = []
        for c in ('clean', 'clip'):
            rc, out, err = sh(c, name, '-o', c, '--no-network', '--report', c+'.json', *(['--no-steady'] if c=='clip' else []))
            assert (rc, err)==(0, []), err
            got.append((*sheet_frames(Path(c, Path(name).stem+'.png')), json.loads(Path(c+'.json').read_text())['files'][0]))
        (xs,ms,r),(ys,ns,_) = got
        assert ms==ns and all((x==y).all() for x,y in zip(xs, ys, strict=True))
        return xs,ms,r
    return made

def like_the_walk(ys, turn=0, at=range(99)): return all(y.shape==(w := np.rot90(walk[i%3], turn)).shape and overlap(y[..., 3]>0, w[..., 3]>0)>.95 for i,y in zip(at, ys))

def test_film_with_sound(made):
    film('a.mp4', backed, sound=True); ys,ms,r = made('a.mp4')
    assert ms==[100]*6 and r['frames']==6 and like_the_walk(ys)

def test_film_of_prores_with_alpha(made):
    "ProRes 4444: its own alpha is kept, and no key is guessed"
    film('a.mov', steps, 'prores_ks', 'yuva444p10le'); ys,ms,r = made('a.mov')
    assert ms==[100]*6 and r['matte']=='own alpha' and like_the_walk(ys)

def test_film_of_variable_rate(made):
    film('a.mkv', backed, times=(0, 40, 80, 200, 240, 400)); ys,ms,r = made('a.mkv')
    assert ms[:5]==[40, 40, 120, 40, 160] and like_the_walk(ys)

def test_film_that_is_turned(made):
    "A display matrix that says: a quarter clockwise"
    film('u.mp4', backed); b = Path('u.mp4').read_bytes(); i = b.index(b'tkhd')+44
    Path('a.mp4').write_bytes(b[:i]+np.array([0, 1<<16, 0, -(1<<16), 0, 0, 0, 0, 1<<30], '>i4').tobytes()+b[i+36:])
    assert like_the_walk(made('a.mp4')[0], -1)

def test_film_that_is_cut_off(made):
    "What can be read is kept, and said"
    write_mp4(backed*8, 'whole.mkv', 10); Path('a.mkv').write_bytes(cut(Path('whole.mkv').read_bytes(), .6))
    ys,ms,r = made('a.mkv'); assert 2<len(ys)<48 and any('cut off' in w or 'damaged' in w for w in r['warnings']) and like_the_walk(ys, at=np.cumsum([0, *ms[:-1]])//100) # a lost frame leaves a gap in the times

@pytest.mark.parametrize('command', ['clean', 'clip'])
def test_film_without_frames(sh, command):
    "A header and no frames, a film that is all sound, the first half of an MP4, whose index comes last: one line each, and nothing is written"
    import av
    film('whole.mp4', backed); Path('half.mp4').write_bytes(cut(Path('whole.mp4').read_bytes(), .5))
    write_mp4(backed, 'whole.mkv', 10); b = Path('whole.mkv').read_bytes(); Path('header.mkv').write_bytes(b[:b.index(b'\x1f\x43\xb6\x75')])
    film('none.mp4', [], size=(180, 180))
    with av.open('sound.mkv', 'w') as out:
        s = out.add_stream('aac', rate=44100, layout='mono'); a = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format='fltp', layout='mono'); a.sample_rate = 44100
        out.mux(s.encode(a)); out.mux(s.encode())
    for n,says in (('half.mp4', 'not a film that can be read'), ('header.mkv', 'not a film that can be read'), ('none.mp4', 'none.mp4 has no pictures in it'), ('sound.mkv', 'no pictures in it, only audio')): one_line(sh(command, n, '-o', 'out', '--no-network'), says)
    assert not Path('out').exists()

@pytest.mark.parametrize('name,fmt', [('x.gif', 'png'), ('x.png', 'gif'), ('x.webp', 'sheet'), ('x.gif', 'apng')])
def test_suffix_and_format_must_agree(fast, name, fmt):
    Image.fromarray(hero).save('hero.png')
    one_line(fast('hero.png', '-o', name, '--format', fmt), f'--format {fmt} does not go into {name}')
    assert tree()==['hero.png']

def test_apng_may_be_called_png(fast, gif):
    assert fast(gif, '-o', 'x.png', '--format', 'apng')[0]==0
    assert len(read('x.png'))==len(walk) and tree()==['walk.gif', 'x.png']

def test_a_pipe_is_not_waited_for(fast):
    os.mkfifo('pipe.png')
    one_line(fast('pipe.png', '-o', 'out'), 'pipe.png is a pipe')

def test_names_too_long_for_a_file(fast):
    Image.fromarray(hero).save('hero.png')
    one_line(fast('o'*300+'.png', '-o', 'out'), 'name too long')
    one_line(fast('hero.png', '-o', 'o'*300+'.png'), 'name too long')
    assert tree()==['hero.png']

def test_a_name_of_two_lines_is_told_on_one(fast):
    Path('a\nb.png').write_text('no picture')
    one_line(fast('a\nb.png', '-o', 'out'), 'a b.png is not a')

def test_a_name_that_the_terminal_cannot_show(here):
    Image.fromarray(hero).save('ünd.png')
    code = 'import sys; sys.stdout.reconfigure(encoding="ascii", errors="strict")\n'+entry
    r = command(code, 'clean', 'ünd.png', '-o', 'out', '--no-network', cwd=here)
    assert (r.returncode, r.stderr)==(0, '') and '\\xfcnd.png' in r.stdout and tree('out')==['ünd.png']

@pytest.mark.parametrize('args', [['clean', '--help'], ['clean', 'hero.png', 'no.png', '-o', 'out', '--no-network']], ids=['help', 'results'])
def test_a_reader_that_is_gone(here, args):
    "As in `spritedx ... | head -1`: the work is done, nothing is complained about"
    Image.fromarray(hero).save('hero.png'); Path('no.png').write_text('no picture')
    r, w = os.pipe(); os.close(r)
    p = subprocess.run([sys.executable, '-m', 'spritedx.cli', *args], cwd=here, stdout=w, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(w)
    assert p.stderr.splitlines()==(['spritedx: no.png is not a PNG, WebP, JPEG, BMP or GIF picture'] if 'no.png' in args else [])
    if 'no.png' in args: assert p.returncode==141 and tree('out')==['hero.png']
    both = subprocess.run(f'"{sys.executable}" -m spritedx.cli {" ".join(args)} 2>&1 | head -1', shell=True, cwd=here, capture_output=True, text=True, timeout=120)
    assert both.stdout.count('\n')==1 and both.stderr==''
