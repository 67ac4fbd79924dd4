"""A fuzz target: bytes that claim to be a picture, an animation, a film or a PNG with text. Anything but a result or a `SpriteDXError` is a fault.

    python tests/fuzz.py -runs=100000         guided by the lines of spritedx and Pillow that an input reaches (atheris); the corpus is read
    python tests/fuzz.py grow -runs=100000    the same, and what reaches new lines is kept in tests/corpus, as few and small files as do

The tests run a fixed number of guided inputs, and unguided mutations where atheris is not installed."""
import io, os, struct, subprocess, sys, tempfile, zlib
from contextlib import nullcontext
from pathlib import Path
import numpy as np

def instrumented():
    "Imports of what is fuzzed report the branches that they take, in the process that fuzzes"
    if __name__!='__main__': return nullcontext()
    try: import atheris
    except ImportError: sys.exit('coverage-guided fuzzing needs atheris: pip install atheris')
    return atheris.instrument_imports(include=['spritedx.sprite', 'spritedx.card', 'spritedx.video', 'PIL'])

with instrumented():
    from spritedx.card import read_card
    from spritedx.core import SpriteDXError
    from spritedx.sprite import Clip, Sprite, load_sprite, read, write_png
    from spritedx.video import glance, write_mp4

CORPUS = Path(__file__).resolve().parent/'corpus'

def drawn(folder):
    "Small files of every kind that is read: {name: bytes}"
    from PIL import Image
    from spritedx.card import make_card, write_card
    from spritedx.sources import make_sprite
    d = Path(folder); x = make_sprite(5, size=16); c = Clip([Sprite(x), Sprite(x[:, ::-1])])
    write_png(Sprite(x, meta=dict(source='a.png')), d/'a.png', text=dict(note='words'))
    write_card(d/'a.png', make_card('Ada', 'A story.'), dict(format=1, name='Ada'), d/'card.png')
    write_png(x, d/'i.png', indexed=True); c.save(d/'a.apng'); c.save(d/'a.gif'); c.save(d/'a.webp')
    rgb = Image.fromarray(x[..., :3]); rgb.save(d/'a.jpg'); rgb.save(d/'a.bmp')
    write_mp4([x[..., :3].repeat(2, 0).repeat(2, 1)]*2, d/'a.mp4', fps=10)
    return {p.name: p.read_bytes() for p in sorted(d.iterdir())}

def stored(): return {p.name: p.read_bytes() for p in sorted(CORPUS.iterdir())}

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

MAGIC = b'\x89PNG\r\n\x1a\n'
KINDS = b'tEXt', b'zTXt', b'iTXt', b'eXIf', b'acTL', b'fcTL', b'fdAT', b'PLTE', b'tRNS', b'IDAT', b'iCCP'

def mended(b, g=None):
    "A PNG whose checksums are right again, or nobody would read on; with `g` sometimes with a chunk more, or text packed anew"
    if b[:8]!=MAGIC: return b
    out,i = [MAGIC],8
    while i+8<=len(b):
        n,kind = struct.unpack('>I4s', b[i:i+8]); body = b[i+8:i+8+n]
        if g is not None and not g.integers(12): kind = KINDS[g.integers(len(KINDS))]
        if g is not None and kind==b'zTXt' and b'\0' in body and not g.integers(3): k,_,t = body.partition(b'\0'); body = k+b'\0\0'+zlib.compress(t)
        if g is not None and not g.integers(20): out.append(chunk(KINDS[g.integers(len(KINDS))], b'chara\0'+body[:200]))
        out.append(chunk(kind, body)); i += 12+n
    return b''.join(out)

def chunk(kind, body): return struct.pack('>I', len(body))+kind+body+struct.pack('>I', zlib.crc32(kind+body))

def suffix(b):
    "What a file with these bytes would be called"
    return '.mp4' if b[4:8]==b'ftyp' else '.gif' if b[:3]==b'GIF' else '.webp' if b[8:12]==b'WEBP' else '.bmp' if b[:2]==b'BM' else '.jpg' if b[:2]==b'\xff\xd8' else '.png'

def target(b, name=None, folder=None):
    "What is read of a stranger's file; returns how many of the readers could"
    with tempfile.TemporaryDirectory(dir=folder) as d:
        p = Path(d)/(name or 'x'+suffix(b)); p.write_bytes(b); ok = 0
        for f in ((glance,) if p.suffix=='.mp4' else (read, load_sprite, read_card)):
            try: f(p); ok += 1
            except SpriteDXError: pass
        return ok

def fuzz(args):
    "Hand over to libFuzzer, which ends the process"
    import atheris
    def mutate(data, most, seed):
        b = atheris.Mutate(data, most); g = np.random.default_rng(seed)
        return mended(b, g)[:most] if g.integers(8) else b
    shm = '/dev/shm' if os.path.isdir('/dev/shm') else None
    atheris.Setup([sys.argv[0], *args], lambda b: target(b, folder=shm) and None, custom_mutator=mutate)
    atheris.Fuzz()

def grow(args):
    "Fuzz into the corpus, and keep the fewest and smallest files that reach as much"
    with tempfile.TemporaryDirectory() as d:
        new,least = Path(d)/'new',Path(d)/'least'; new.mkdir(); least.mkdir(); CORPUS.mkdir(exist_ok=True)
        seeds = Path(d)/'seeds'; seeds.mkdir(); drawn(seeds)
        def run(*a): subprocess.run([sys.executable, __file__, *map(str, a)], check=True)
        run(new, CORPUS, seeds, *args)
        run('-merge=1', least, new, CORPUS, seeds)
        for p in CORPUS.iterdir(): p.unlink()
        for p in least.iterdir(): b = p.read_bytes(); (CORPUS/(p.name[:12]+suffix(b))).write_bytes(b)

if __name__=='__main__':
    if sys.argv[1:2]==['grow']: grow(sys.argv[2:])
    else: fuzz(sys.argv[1:])
