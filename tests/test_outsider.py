"What is no pixel art is told, and with --strict refused; sprites, however damaged, are not"
import json
from pathlib import Path
import numpy as np, pytest
from PIL import Image, ImageDraw
from skimage import data
from spritedx import runtime
from spritedx.cli import main
from spritedx.core import SpriteDXError, rng
from spritedx.corrupt import run
from spritedx.outsider import LIMIT
from spritedx.pipeline import Options, clean, clean_frames
from spritedx.sources import KINDS, make_sprite
from spritedx.sprite import read
from spritedx.validation import CONDITIONS, pose
from spritedx.video import write_mp4

def photograph(side=400): return np.asarray(Image.fromarray(data.astronaut()).resize((side, side)))
def gradient(w=420, h=300):
    y,x = np.mgrid[:1:1j*h, :1:1j*w]
    return (255*np.dstack([.2+.6*x, .3+.5*y, .8-.4*x*y])).astype(np.uint8)
def drawing(side=360, k=4):
    "Discs and a triangle with smooth edges on white, as a vector program gives them out"
    im = Image.new('RGB', (side*k,)*2, 'white'); d = ImageDraw.Draw(im)
    for i in range(9): d.ellipse([k*v for v in (30+25*i, 40+17*i, 130+25*i, 120+20*i)], fill=(40+20*i, 200-18*i, 90+10*i), outline=(20, 20, 30), width=3*k)
    return np.asarray(im.resize((side, side), Image.LANCZOS))
alien = dict(photograph=photograph, gradient=gradient, drawing=drawing)

hero = np.pad(make_sprite(5, kind='knight', size=32), ((3, 3), (3, 3), (0, 0)))

@pytest.fixture
def sh(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path); monkeypatch.delenv('SPRITEDX_DATA', raising=False)
    def sh(*args, run=main):
        rc = run(list(map(str, args))); o,e = capsys.readouterr()
        assert [p for p in tmp_path.rglob('.*')]==[]
        return rc,o.splitlines(),e.splitlines()
    return sh

@pytest.mark.parametrize('kind', alien)
def test_an_outsider_is_told(sh, kind):
    "A note on the line, score and warning in the report; the result is written all the same"
    Image.fromarray(alien[kind]()).save('x.png')
    rc,o,e = sh('clean', 'x.png', '-o', 'out', '--no-network', '--report', 'r.json')
    assert (rc, e)==(0, []) and any('does not look like pixel art' in l for l in o) and Path('out/x.png').exists()
    r = json.loads(Path('r.json').read_text())['files'][0]
    assert LIMIT<r['outsider']<=1 and sum('does not look like pixel art' in w for w in r['warnings'])==1

@pytest.mark.parametrize('kind', alien)
def test_strict_refuses_an_outsider(sh, kind):
    "Exit status 1, one clear line, nothing written"
    Image.fromarray(alien[kind]()).save('x.png')
    rc,o,e = sh('clean', 'x.png', '-o', 'out', '--no-network', '--strict')
    assert (rc, o, len(e))==(1, [], 1) and 'x.png: this does not look like pixel art' in e[0] and 'leave --strict out' in e[0] and not Path('out').exists()
    with pytest.raises(SpriteDXError, match='does not look like pixel art'): clean(alien[kind](), strict=True, network=False)

def test_a_strict_batch_goes_on(sh):
    Path('in').mkdir(); Image.fromarray(photograph()).save('in/a.png'); Image.fromarray(hero.repeat(5, 0).repeat(5, 1)).save('in/b.png'); Image.fromarray(gradient()).save('in/c.png')
    rc,o,e = sh('clean', 'in', '-o', 'out', '--no-network', '--strict', '--report', 'r.json')
    assert rc==1 and len(e)==2 and o[-1]=='1 cleaned, 2 failed' and [p.name for p in Path('out').iterdir()]==['b.png']
    r = json.loads(Path('r.json').read_text()); assert len(r['failed'])==2 and r['files'][0]['outsider']<LIMIT

def test_a_film_of_an_outsider(sh):
    p = photograph(200); write_mp4([np.roll(p, i, 1) for i in range(4)], 'a.mp4', 10)
    for c in ('clean', 'clip'):
        rc,o,e = sh(c, 'a.mp4', '-o', 'out', '--no-network', '--strict'); assert (rc, o, len(e))==(1, [], 1) and 'pixel art' in e[0] and not Path('out').exists()

def test_cutting_out_at_full_size_asks_for_no_pixels(sh):
    Image.fromarray(drawing()).save('x.png')
    rc,o,e = sh('clean', 'x.png', '-o', 'out', '--style', 'smooth', '--strict'); assert (rc, e)==(0, []) and 'pixel art' not in ' '.join(o)

def test_the_slim_runtime_knows_outsiders_too(sh):
    Image.fromarray(photograph()).save('x.png'); Image.fromarray(hero.repeat(5, 0).repeat(5, 1)).save('y.png')
    rc,o,e = sh('x.png', 'y.png', '-o', 'out', '--no-network', run=runtime.main); assert rc==0 and sum('does not look like pixel art' in l for l in o)==1
    rc,o,e = sh('x.png', 'y.png', '-o', 'new', '--no-network', '--strict', run=runtime.main); assert rc==1 and len(e)==1 and [p.name for p in Path('new').iterdir()]==['y.png']

@pytest.mark.parametrize('condition', CONDITIONS)
def test_a_damaged_sprite_is_none(condition):
    c = CONDITIONS[condition]
    for i in range(2):
        seed = 'no outsider',condition,i; g = rng(*seed)
        x = make_sprite(f'{condition} {i}', KINDS[g.integers(len(KINDS))], (32, 48, 64)[i%3])
        if c.dress: x = c.dress(x, rng(*seed, 'dress'))
        t = pose(x, rng(*seed, 'pose'), c.full, c.soft)
        r = clean_frames([run(t, c.recipe(rng(*seed, 'recipe'), t), *seed).img], Options(network=False, strict=True))[1]
        assert r.outsider<=LIMIT and not any('does not look like' in w for w in r.warnings)
