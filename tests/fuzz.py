"""A fuzz target: bytes that claim to be a picture, a film or a PNG with text. Anything but a result or a `SpriteDXError` is a fault.

`python tests/fuzz.py [seconds]` is guided by coverage where atheris is installed; the tests run the same target over a fixed number of
mutations of the same corpus, which is drawn here and not stored."""
import io, sys, tempfile
from pathlib import Path
import numpy as np
from spritedx.card import read_card
from spritedx.core import SpriteDXError
from spritedx.sources import make_sprite
from spritedx.sprite import Clip, Sprite, load_sprite, read, write_png
from spritedx.video import glance, write_mp4

def corpus(folder):
    "Small files of every kind that is read: {suffix: bytes}"
    d = Path(folder); x = make_sprite(5, size=16); c = Clip([Sprite(x), Sprite(x[:, ::-1])])
    write_png(Sprite(x, meta=dict(source='a.png')), d/'a.png', text=dict(note='words'))
    write_png(x, d/'i.png', indexed=True); c.save(d/'a.apng'); c.save(d/'a.gif'); c.save(d/'a.webp')
    from PIL import Image
    rgb = Image.fromarray(x[..., :3]); rgb.save(d/'a.jpg'); rgb.save(d/'a.bmp')
    write_mp4([x[..., :3].repeat(2, 0).repeat(2, 1)]*2, d/'a.mp4', fps=10)
    return {p.name: p.read_bytes() for p in sorted(d.iterdir())}

def mutated(b, g):
    "Bytes changed, cut, doubled or moved"
    b = bytearray(b)
    for _ in range(int(g.integers(1, 6))):
        if not b: break
        i,n = int(g.integers(len(b))),int(g.integers(1, 40)); k = g.integers(5)
        if k==0: b[i] = int(g.integers(256))
        elif k==1: b[i:i+n] = b''
        elif k==2: b[i:i] = b[i:i+n]
        elif k==3: b[i:i+4] = bytes(g.choice([0, 127, 128, 255], 4).tolist())
        else: del b[i:]
    return bytes(b)

def target(b, name='x.png', folder=None):
    "What is read of a stranger's file; returns whether it could be"
    with tempfile.TemporaryDirectory(dir=folder) as d:
        p = Path(d)/name; p.write_bytes(b); ok = 0
        for f in ((glance,) if p.suffix=='.mp4' else (read, load_sprite, read_card)):
            try: f(p); ok += 1
            except SpriteDXError: pass
        return ok

def main():
    try: import atheris
    except ImportError: sys.exit('coverage-guided fuzzing needs atheris: pip install atheris')
    seeds = tempfile.mkdtemp(); corpus(seeds)
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], seeds, f'-max_total_time={sys.argv[1] if len(sys.argv)>1 else 60}'], lambda b: target(b, 'x.mp4' if b[4:8]==b'ftyp' else 'x.png'))
    atheris.Fuzz()

if __name__=='__main__': main()
