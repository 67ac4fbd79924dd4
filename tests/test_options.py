"What an artist can turn, through both command lines: that it does what it says, is told in the report, and that nonsense is one line"
import json, struct
from pathlib import Path
import numpy as np, pytest
from PIL import Image
from spritedx import pipeline, predict, runtime
from spritedx.cli import main
from spritedx.core import SpriteDXError
from spritedx.corrupt import run
from spritedx.palette import Palette, toed
from spritedx.pipeline import clean
from spritedx.sources import make_clip, make_sprite
from spritedx.sprite import read, write_gif

hero = np.pad(make_sprite(9, kind='knight', size=40), ((4, 4), (4, 4), (0, 0)))
painted = run(hero, [('enlarge', dict(pitch=7.3)), ('paste', dict(kind='magenta', soften=1.))], 0).img
pico = Palette.from_hex('000000 1d2b53 7e2553 008751 ab5236 5f574f c2c3c7 fff1e8 ff004d ffa300 ffec27 00e436 29adff 83769c ff77a8 ffccaa'.split(), 'pico')

def pixels(path): return read(path).pixels[0]
def seen(x): return np.argwhere(x[..., 3]>127)
def tall(x): return int(np.ptp(seen(x)[:, 0]))+1
def wide(x): return int(np.ptp(seen(x)[:, 1]))+1
def colours(x): return {bytes(c).hex() for c in x[x[..., 3]>0][:, :3]}

@pytest.fixture
def sh(tmp_path, monkeypatch, capsys):
    "`spritedx clean ... --no-network --report r.json`: the report of the first file"
    monkeypatch.chdir(tmp_path); monkeypatch.delenv('SPRITEDX_DATA', raising=False)
    Image.fromarray(painted).save('x.png'); Image.fromarray(hero).save('hero.png')
    def sh(*args, network=False):
        rc = main(['clean', *map(str, args), *([] if network else ['--no-network']), '--report', 'r.json']); e = capsys.readouterr().err
        assert (rc, e)==(0, ''), e
        return json.loads(Path('r.json').read_text())['files'][0]
    return sh

@pytest.mark.parametrize('size,want', [('24', (22, 24)), ('33', (31, 33)), ('57', (54, 57)), ('20x36', (20, 36))])
def test_exactly_so_many_cells(sh, size, want):
    r = sh('x.png', '-o', 'y.png', '--size', size)
    got = pixels('y.png').shape[1::-1]
    assert got==want or 'x' not in size and max(got)==int(size) and abs(got[0]-want[0])<=1
    assert r['options']=={'size': size} and r['native']==list(got) and r['grid']=='grid'

@pytest.mark.parametrize('dy,dx', [(3, 5), (6, 2)])
def test_a_size_by_hand_is_a_grid_and_no_resize(sh, dy, dx):
    "Cells of 7.3 px that begin anywhere are met, so that nearly every pixel is one of the truth's"
    x = np.asarray(Image.fromarray(painted).crop((dx, dy, painted.shape[1], painted.shape[0])))
    Image.fromarray(x).save('c.png'); n = round(max(x.shape[:2])/7.3)
    sh('c.png', '-o', 'y.png', '--size', n)
    y = pixels('y.png'); assert max(y.shape[:2])==n
    a,b = (v[s.min(0)[0]:s.max(0)[0]+1, s.min(0)[1]:s.max(0)[1]+1] for v in (y, hero) for s in [seen(v)])
    assert a.shape==b.shape
    both = (a[..., 3]>127)&(b[..., 3]>127)
    assert (np.linalg.norm(toed(a[..., :3])-toed(b[..., :3]), axis=-1)[both]<.08).mean()>.9
    Image.fromarray(x).resize((y.shape[1], y.shape[0]), Image.BOX).save('box.png'); box = pixels('box.png')
    box = box[(s := seen(y)).min(0)[0]:s.max(0)[0]+1, s.min(0)[1]:s.max(0)[1]+1]
    assert (np.linalg.norm(toed(box[..., :3])-toed(b[..., :3]), axis=-1)[both]<.08).mean()<.9, 'a resize would do as well'

def test_a_size_that_was_found_is_the_grid_that_was_found(sh):
    sh('x.png', '-o', 'a.png'); n = max(pixels('a.png').shape[:2])
    sh('x.png', '-o', 'b.png', '--size', n)
    assert np.array_equal(pixels('a.png'), pixels('b.png'))

def test_too_few_pixels_for_the_size(sh):
    r = sh('hero.png', '-o', 'y.png', '--size', '512')
    assert np.array_equal(pixels('y.png'), hero) and any('too few' in w for w in r['warnings'])

@pytest.mark.parametrize('name,h,network', [('x.png', 24, True), ('x.png', 50, False), ('hero.png', 80, False), ('hero.png', 31, True)])
def test_height(sh, name, h, network):
    "The sprite is so tall, its proportions as they were; twice the height of a clean sprite is every pixel twice"
    r = sh(name, '-o', 'y.png', '--height', h, network=network); y = pixels('y.png')
    assert tall(y)==h and r['options']=={'height': h} and r['warnings']==[]
    assert abs(wide(y)-wide(hero)*h/tall(hero))<=1.5
    if h==2*tall(hero): a,b = (v[s.min(0)[0]:s.max(0)[0]+1, s.min(0)[1]:s.max(0)[1]+1] for v in (y, hero) for s in [seen(v)]); assert np.array_equal(a, b.repeat(2, 0).repeat(2, 1))

def test_height_of_a_clip_is_one_scale(sh):
    xs = [np.pad(f, 6)[..., 6:-6] for f in make_clip(3, kind='slime', animation='idle', n=4, size=24)]
    write_gif([x.repeat(5, 0).repeat(5, 1) for x in xs], 'c.gif')
    sh('c.gif', '-o', 'y.gif', '--height', 2*tall(xs[0]))
    ys = read('y.gif').pixels
    assert len({y.shape for y in ys})==1 and [tall(y) for y in ys]==[2*tall(x) for x in xs]

def ase(c): return b'ASEF'+struct.pack('>HHI', 1, 0, len(c))+b''.join(struct.pack('>HIH', 1, 22, 1)+b'\0\0RGB '+struct.pack('>3fH', *(o/255), 0) for o in c)
def aseprite(c):
    d = struct.pack('<III8x', len(c), 0, len(c)-1)+b''.join(struct.pack('<HBBBB', 0, *o, 255) for o in c); d = struct.pack('<IH', 6+len(d), 0x2019)+d
    f = struct.pack('<IHHH2xI', 16+len(d), 0xf1fa, 1, 100, 1)+d
    return struct.pack('<IHH', 128+len(f), 0xa5e0, 1)+bytes(120)+f
files = dict(act=lambda c: c.tobytes()+bytes(768-c.size)+struct.pack('>HH', len(c), 0xffff), ase=ase, aseprite=aseprite,
    pal=lambda c: b'RIFF'+struct.pack('<I', 16+4*len(c))+b'PAL data'+struct.pack('<IHH', 4+4*len(c), 0x300, len(c))+b''.join(bytes(o)+b'\0' for o in c))

@pytest.mark.parametrize('kind', files)
def test_palette_files_of_painting_programs(sh, kind):
    "Those that are not text; the others are in test_cli"
    Path(f'p.{kind}').write_bytes(files[kind](pico.colors))
    sh('hero.png', '-o', 'y.png', '--palette', f'p.{kind}')
    assert 3<len(colours(pixels('y.png')))<=16 and colours(pixels('y.png'))<=set(pico.hex)

def test_fewer_colours(sh):
    pico.save('p.gpl')
    sh('x.png', '-o', 'a.png', '--colours', 6); assert len(colours(pixels('a.png')))==6
    r = sh('x.png', '-o', 'b.png', '--palette', 'p.gpl', '--colors', 4)
    assert 1<len(colours(pixels('b.png')))<=4 and colours(pixels('b.png'))<=set(pico.hex) and r['options']=={'palette': 'p.gpl', 'colours': 4}

@pytest.mark.parametrize('how,n', [('ordered', 4), ('ordered8', 8)])
def test_ordered_dithering(sh, how, n):
    "A ramp in two colours: only theirs, a pattern that repeats, and from afar the ramp"
    x = np.zeros((32, 64, 4), np.uint8); x[..., :3] = np.linspace(40, 215, 8).astype(np.uint8).repeat(8)[None, :, None]; x[..., 3] = 255
    Image.fromarray(x).save('ramp.png'); Palette.from_hex(['282828', 'd7d7d7']).save('two.hex')
    args = 'ramp.png', '--matte', 'none', '--palette', 'two.hex'
    sh(*args, '-o', 'flat.png'); sh(*args, '-o', 'y.png', '--dither', how)
    y = pixels('y.png'); assert colours(y)=={'282828', 'd7d7d7'}
    assert np.array_equal(y[:n], y[n:2*n]) and not np.array_equal(y[0], y[1])
    far = lambda v: toed(v[..., :3])[..., 0].reshape(4, 8, 8, 8).mean((1, 3))
    off = lambda v: np.abs(far(v)-far(x)).mean()
    assert off(y)<.4*off(pixels('flat.png'))

def test_indexed_png(sh):
    "The palette's order, transparent first, and the same picture back"
    pico.save('p.hex'); sh('hero.png', '-o', 'y.png', '--palette', 'p.hex', '--scale', 2)
    im = Image.open('y.png'); assert im.mode=='P' and im.info['transparency']==0
    assert bytes(im.getpalette()[3:3+48])==pico.colors.tobytes()
    y = pixels('y.png'); assert np.array_equal(np.asarray(im)==0, y[..., 3]==0) and np.array_equal(y[::2, ::2, 3], hero[..., 3])

def test_many_colours_are_not_lost(sh):
    "More than 256 do not fit an indexed picture, and stay"
    x = np.random.default_rng(0).integers(0, 256, (40, 40, 4), np.uint8); x[..., 3] = 255; x[:, 20:] = x[:, :20]
    Image.fromarray(x).save('n.png'); sh('n.png', '-o', 'y.png', '--matte', 'none')
    assert len(colours(x))>256 and np.array_equal(pixels('y.png'), x) and Image.open('y.png').mode=='RGBA'

def disc():
    yy,xx = np.mgrid[:24, :24]-11.5; v = np.hypot(yy, xx)<9.6; inner = np.hypot(yy, xx)<8.4
    x = np.zeros((24, 24, 4), np.uint8); x[v] = (30, 20, 30, 255); x[inner] = (230, 180, 90, 255); x[inner&(yy>3)] = (190, 130, 60, 255)
    x[11, 9] = x[11, 14] = x[18, 12] = x[0, 0] = (30, 20, 30, 255) # eyes, an orphan, a speck outside
    return x

def test_outline_cleaning_is_off_until_asked_for(sh):
    x = disc(); Image.fromarray(x).save('d.png')
    assert sh('d.png', '-o', 'a.png')['outline'] is None; assert np.array_equal(pixels('a.png'), x)
    r = sh('d.png', '-o', 'b.png', '--outline', 'clean'); y = pixels('b.png'); dark = lambda v: (v[..., 0]==30)&(v[..., 3]>0)
    assert y[18, 12, 0]==190 and y[0, 0, 3]==0 and dark(y)[11, 9] and dark(y)[11, 14]
    assert r['outline']['orphans']==2 and r['outline']['doubles']==dark(x).sum()-dark(y).sum()-2>4
    v = x[..., 3]>0; v[0, 0] = False; assert np.array_equal(y[..., 3]>0, v), 'the silhouette changed'
    rim = v&~(np.roll(v, 1, 0)&np.roll(v, -1, 0)&np.roll(v, 1, 1)&np.roll(v, -1, 1)); assert dark(y)[rim].all() and dark(y).sum()==rim.sum()+2

@pytest.mark.parametrize('fmt', ['gif', 'webp', 'apng', 'sheet'])
def test_anchor_pad_and_scale_of_a_clip(sh, fmt):
    "A slime that sinks through the film stands on one line, two pixels above the edge, everything three times as large"
    xs = [np.pad(f, ((4+3*i, 20-3*i), (9, 9), (0, 0))) for i,f in enumerate(make_clip(3, kind='slime', animation='idle', n=4, size=24))]
    write_gif(xs, 'c.gif')
    r = sh('c.gif', '-o', 'out', '--format', fmt, '--anchor', 'bottom', '--pad', 2, '--scale', 3)
    w,h = r['native']; k = read(r['output']).pixels
    ys = k
    if fmt=='sheet':
        j = json.loads(Path(r['output']).with_suffix('.json').read_text())
        ys = [k[0][f['y']:f['y']+f['h'], f['x']:f['x']+f['w']] for f in (o['frame'] for o in j['frames'])]
    assert len(ys)==4 and {y.shape[:2] for y in ys}=={(3*h, 3*w)} and h==max(map(tall, xs))+4 and w<xs[0].shape[1]
    assert {int(seen(y)[:, 0].max()) for y in ys}=={3*(h-2)-1} and r['anchor'][1]==h-2
    for y,x in zip(ys, xs): assert np.array_equal(y[::3, ::3], y[2::3, 1::3]) and tall(y)==3*tall(x)
    assert r['options']=={'anchor': 'bottom', 'pad': 2, 'scale': 3}
    if fmt=='sheet': assert j['meta']['slices'][0]['keys'][0]['pivot']=={'x': 3*r['anchor'][0], 'y': 3*(h-2)}

def test_padding_alone_keeps_the_canvas(sh):
    sh('hero.png', '-o', 'y.png', '--pad', 3)
    assert np.array_equal(pixels('y.png'), np.pad(hero, ((3, 3), (3, 3), (0, 0))))

def test_soft_and_binary_alpha(sh):
    x = hero.copy(); x[..., 3] = (x[..., 3]*np.linspace(.3, 1, x.shape[0])[:, None]).astype(np.uint8); Image.fromarray(x).save('s.png')
    sh('s.png', '-o', 'a.png'); sh('s.png', '-o', 'b.png', '--alpha', 'soft')
    assert set(np.unique(pixels('a.png')[..., 3]))=={0, 255} and len(np.unique(pixels('b.png')[..., 3]))>10

@pytest.mark.parametrize('args,says', [(['--size', '32x'], 'size'), (['--size', '4x40'], 'size'), (['--height', '3'], 'from 8 to 1024'), (['--height', '40', '--size', '30'], 'one of them'), (['--colours', '0'], 'from 1 to 256'),
    (['--dither', 'ordered'], 'needs fewer colours'), (['--pad', '-1'], 'pad=-1'), (['--scale', '0'], 'from 1 to 64'), (['--style', 'smooth', '--outline', 'clean'], 'keeps the picture'), (['--palette', 'cut.aseprite'], 'cut.aseprite')], ids=lambda o: ' '.join(o) if isinstance(o, list) else '')
def test_nonsense_is_one_line(sh, capsys, args, says):
    Path('cut.aseprite').write_bytes(aseprite(pico.colors)[:150])
    for command in (lambda *a: main(['clean', *a]), runtime.main):
        if '--style' in args and command is runtime.main: continue
        assert command('x.png', '-o', 'out/y.png', *args)==1 if command is not runtime.main else command(['x.png', '-o', 'out/y.png', *args])==1
        o,e = capsys.readouterr(); assert o=='' and e.count('\n')==1 and says in e
    assert not Path('out').exists()

def test_a_scale_beyond_what_is_read_again(sh, capsys):
    Image.fromarray(np.kron(hero, np.ones((4, 4, 1), np.uint8))).save('x.png')
    assert main(['clean', 'x.png', '-o', 'y.png', '--no-network', '--pad', '900', '--scale', '64'])==1 and '--scale' in capsys.readouterr().err

def test_the_slim_road_and_python_take_the_same_options(sh):
    o = dict(height=40, colours=9, dither='ordered', outline='clean', anchor='centre', pad=1, scale=2)
    sh('x.png', '-o', 'a.png', *(str(v) for k in o for v in (f'--{k}', o[k])))
    assert runtime.main(['x.png', '-o', 'b.png', '--no-network', *(str(v) for k in o for v in (f'--{k}', o[k]))])==0
    a,b,c = pixels('a.png'),pixels('b.png'),clean(painted, network=False, **o)
    assert np.array_equal(a, b) and np.array_equal(a, c.pixels) and c.meta['report']['options']==o
    assert np.array_equal(runtime.clean(painted, network=False, **o).pixels, c.pixels)

# --- what nobody has to turn

def test_a_clip_that_rests_does_not_flicker(monkeypatch):
    "A network that answers a little differently every time: one colour a pixel all the same, and the blink of the last frame stays"
    x = np.pad(make_sprite(9, kind='knight', size=40), ((4, 4), (4, 4), (0, 0))); g = np.random.default_rng(0)
    noisy = lambda x, sd: np.where(x[..., 3:]>0, np.dstack([np.clip(x[..., :3]+g.normal(0, sd, x[..., :3].shape), 0, 255).astype(np.uint8), x[..., 3]]), 0).astype(np.uint8)
    film = [x.copy() for _ in range(6)]; y,c = np.argwhere(x[..., 3]>0)[200]; film[5][y, c] = (255, 0, 0, 255)
    monkeypatch.setattr(pipeline, 'restored', lambda small, opt, r, keep=list, sure=False: (keep(noisy(f, 5) for f in small), []))
    film = [noisy(f, 1.5) for f in film]
    def flickers(): xs = np.stack([s.pixels for s in pipeline.clean_frames(film)[0]]); return (xs[1:5]!=xs[:4]).any(-1).sum(),xs
    n,xs = flickers(); assert n==0 and not np.array_equal(xs[5][y, c], xs[4][y, c])
    monkeypatch.setattr(pipeline, 'rested', lambda frames, *a: frames)
    assert flickers()[0]>50, 'the test can fail'

def test_a_piece_of_the_key_goes_where_the_network_says_so_too(monkeypatch):
    "Of a contour pixel that is green on green the matte and the network must agree; and a tinted black outline is black again"
    x = np.zeros((40, 40, 3), np.uint8); x[...] = (0, 255, 0); x[8:32, 8:32] = 0; x[9:31, 9:31] = (200, 120, 60); x[9:31:2, 9:31] = (150, 80, 40)
    kept,tint = np.s_[8:10, 15:18],np.s_[8, 20:26]
    def network(alpha):
        def cleaned(frames, *a, **k):
            out = [np.dstack([f[..., :3], np.where(f[..., 1]==255, 0, 255)]).astype(np.uint8) for f in frames]
            for f in out: f[kept] = (0, 200, 0, alpha); f[tint] = (4, 30, 2, 255)
            a[2].network = True
            return out
        return cleaned
    monkeypatch.setattr(pipeline, 'already_clean', lambda *a, **k: False)
    for alpha in (20, 250):
        monkeypatch.setattr(pipeline, 'cleaned', network(alpha)); y = pipeline.clean(x).pixels
        assert (y[kept][..., 3]>0).all()==(alpha>127) and not y[tint][:, :3].any() and (y[tint][:, 3]==255).all()

def test_what_a_side_cuts_off_keeps_its_key(monkeypatch):
    "A bust in few flat colours; where the network says there was no key, the picture is one of a sprite on a scene"
    k = make_sprite(3, 'knight', 48)[:38]; x = np.full((46, k.shape[1]+20, 4), (196, 207, 161, 255), np.uint8); x[8:, 10:-10][k[..., 3]>0] = k[k[..., 3]>0]
    img = run(x, [('enlarge', dict(pitch=6.)), ('noise', dict(sigma=.003))], 1).img
    asked = []; real = pipeline.is_key; monkeypatch.setattr(pipeline, 'is_key', lambda *a: asked.append(1) or real(*a))
    assert pipeline.clean_frames([img])[1].matte=='key' and asked==[1]
    monkeypatch.setattr(pipeline, 'is_key', lambda *a: False); assert pipeline.clean_frames([img])[1].matte=='network', 'the test can fail'
    monkeypatch.setattr(pipeline, 'is_whole', lambda *a: True); assert pipeline.clean_frames([img])[1].matte=='network', 'where the rim was plain there is a sprite'

def test_views_and_both_mattes_reach_the_road(monkeypatch):
    "The network is asked about as many mirror images as were wished, and on white its matte is joined with the key's"
    seen,joined = [],[]
    real,join = predict.restore,pipeline.join_mattes
    monkeypatch.setattr(predict, 'restore', lambda *a, **k: seen.append(k['views']) or real(*a, **k))
    monkeypatch.setattr(pipeline, 'join_mattes', lambda *a: joined.append(1) or join(*a))
    for kind,views in (('white', 4), ('magenta', 1)):
        x = run(np.pad(make_sprite(5, 'knight', 32), ((4, 4), (4, 4), (0, 0))), [('enlarge', dict(pitch=6.)), ('paste', dict(kind=kind, drift=0.)), ('blur', dict(radius=1.))], 1).img
        pipeline.clean_frames([x], pipeline.Options(views=views))
    assert seen==[4, 1] and joined==[1]
    pipeline.clean_frames([x]); pipeline.clean_frames([x, x]); assert seen[2:]==[4, 1] # a still, and a clip
    with pytest.raises(SpriteDXError, match='views=3'): pipeline.Options(views=3)
