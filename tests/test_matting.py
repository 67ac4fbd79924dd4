"Pictures with mattes in the layouts they come in, and what training and matting do with them"
import json, sys
from pathlib import Path
import numpy as np, pytest
from spritedx.core import SpriteDXError, rng
from spritedx.mattes import Mattes, folder_items, items_of
from spritedx.sprite import write_png

LAYOUTS = {
    'P3M-10k': {'train/blurred_image': 4, 'train/mask': 4, 'validation/P3M-500-P/blurred_image': 2, 'validation/P3M-500-P/mask': 2, 'validation/P3M-500-P/trimap': 2,
                'validation/P3M-500-NP/original_image': 3, 'validation/P3M-500-NP/mask': 3, 'validation/P3M-500-NP/trimap': 3},
    'AM-2k': {'train/original': 4, 'train/mask': 4, 'train/fg': 4, 'train/trimap': 4, 'validation/original': 2, 'validation/mask': 2, 'validation/trimap': 2},
    'AIM-500': {'original': 40, 'mask': 40, 'trimap': 40, 'usr': 40},
    'Distinctions-646': {'Train/FG': 4, 'Train/GT': 4, 'Test/FG': 2, 'Test/GT': 2},
    'Composition-1k': {'Combined_Dataset/Training_set/Adobe-licensed images/fg': 3, 'Combined_Dataset/Training_set/Adobe-licensed images/alpha': 3,
                       'Combined_Dataset/Training_set/Other/fg': 2, 'Combined_Dataset/Training_set/Other/alpha': 2,
                       'Combined_Dataset/Test_set/Adobe-licensed images/fg': 1, 'Combined_Dataset/Test_set/Adobe-licensed images/alpha': 1,
                       'Combined_Dataset/Test_set/Adobe-licensed images/trimaps': 1},
    'ToonOut': {f'{s}/{t}_generations_20250318_emotion/{k}': n for s, t, n in (('train', 'train', 3), ('val', 'validation', 2), ('test', 'test', 1)) for k in ('im', 'gt', 'an')},
    'DIS5K': {f'DIS-{s}/{k}': n for s, n in (('TR', 4), ('VD', 2), ('TE1', 1), ('TE4', 1)) for k in ('im', 'gt')},
}
EXPECTED = { # items of train, valid (None: a part of train) and test; are they cut-outs
    'P3M-10k': (4, 5, 0, False), 'AM-2k': (4, 2, 0, False), 'AIM-500': (40, None, 0, False), 'Distinctions-646': (4, None, 2, True),
    'Composition-1k': (5, None, 1, True), 'ToonOut': (3, 2, 1, False), 'DIS5K': (4, 2, 2, False)}
TRUTH = ('mask', 'gt', 'alpha')

def picture(seed, truth):
    "Noise with a bright lower half; its alpha is the lower half"
    x = rng('picture', seed).integers(0, 100, (20, 16, 3)).astype(np.uint8); x[10:] += 120
    return np.repeat(np.where(np.arange(20)[:, None, None]>=10, 255, 0).astype(np.uint8), 16, 1).repeat(3, 2) if truth else x

def lay_out(root, layout, ext='.png'):
    for d, n in layout.items():
        for i in range(n):
            x = picture(i, Path(d).name.lower() in TRUTH)
            path = root/d/f'p_{i:03d}.png'
            if Path(d).name.lower() not in TRUTH and ext!='.png':
                from PIL import Image
                path.parent.mkdir(parents=True, exist_ok=True); Image.fromarray(x).save(path.with_suffix(ext), quality=98)
            else: write_png(np.dstack([x, np.full(x.shape[:2], 255, np.uint8)]), path)

@pytest.mark.parametrize('name', LAYOUTS)
def test_a_public_set_is_read_in_its_own_layout(name, tmp_path):
    lay_out(tmp_path/name, LAYOUTS[name], '.png' if EXPECTED[name][3] else '.jpg') # photographs are JPEG beside PNG alphas
    items = folder_items(tmp_path/name)
    n = {s: sum(i.split==s for i in items) for s in ('train', 'valid', 'test')}
    *want, cut = EXPECTED[name]
    if want[1] is None: # a part of the training pictures is held out, the same every time; the test part is left alone
        assert n['train']+n['valid']==want[0] and 0<n['valid']<=want[0]*.5 and n['test']==want[2]
        assert n=={s: sum(i.split==s for i in folder_items(tmp_path/name)) for s in n}
    else: assert [n['train'], n['valid'], n['test']]==want
    assert {i.cut for i in items}=={cut}
    x = items[0].open()
    assert (x[:10, :, 3]==0).all() and (x[10:, :, 3]==255).all() and x[10:, :, :3].mean()>x[:10, :, :3].mean()+80

def test_ones_own_cut_outs_are_a_set(tmp_path):
    for i in range(30): write_png(np.dstack([picture(i, False), picture(i, True)[..., 0]]), tmp_path/'heroes'/f'{i}.png')
    items = items_of(tmp_path)
    assert len(items)==30 and {i.cut for i in items}=={True} and {i.split for i in items}=={'train', 'valid'}
    rgb, a = Mattes([i for i in items if i.split=='train'], 64, 4).pictures(0)
    assert rgb.shape==(64, 64, 3) and a.shape==(64, 64) and a.dtype==np.uint8

@pytest.mark.parametrize('layout,said', [({}, 'no mattes in'), ({'im': 3}, 'no mattes in'), ({'im': 2, 'depth': 2}, 'no mattes in')], ids=['empty', 'no alphas', 'something else'])
def test_a_folder_without_mattes_is_refused(layout, said, tmp_path):
    lay_out(tmp_path, layout)
    with pytest.raises(SpriteDXError, match=said): folder_items(tmp_path)

def test_sizes_that_differ_are_named(tmp_path):
    write_png(np.full((20, 16, 4), 255, np.uint8), tmp_path/'im'/'a.png'); write_png(np.full((10, 16, 4), 255, np.uint8), tmp_path/'gt'/'a.png')
    with pytest.raises(SpriteDXError, match='a.png is 16x10, a.png is 16x20; they must agree'): folder_items(tmp_path)[0].open()

@pytest.mark.parametrize('data,said', [('nowhere', 'no folder nowhere'), ('x.parquet', 'cannot be read as parquet')])
def test_data_that_is_not_there(data, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpriteDXError, match=said): items_of(data)

def test_packs_that_are_not_here(tmp_path, monkeypatch):
    monkeypatch.setattr('spritedx.mattes.data_dir', lambda: None)
    with pytest.raises(SpriteDXError, match='set SPRITEDX_DATA'): items_of('mattes')

# --- the commands

from PIL import Image
from spritedx.cli import main
from spritedx.metrics import spill_share
from spritedx.sources import make_clip, make_sprite
from spritedx.sprite import read, write_gif

hero = np.pad(make_sprite(5, kind='knight', size=32), ((5, 5), (5, 5), (0, 0)))
def larger(x, k): return x.repeat(k, 0).repeat(k, 1)
def on(x, rgb): return np.where(x[..., 3:]>0, x[..., :3], np.array(rgb)).astype(np.uint8)
def overlap(a, b): return (a&b).sum()/(a|b).sum()

@pytest.fixture
def sh(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path); monkeypatch.delenv('SPRITEDX_DATA', raising=False)
    def sh(*args):
        rc = main([str(o) for o in args]); o, e = capsys.readouterr()
        return rc, o.splitlines(), e.splitlines()
    return sh

def test_matte_on_a_plain_background(sh):
    "The size it came in, the sprite's alpha, no key colour in the edge, and the report says how"
    Image.fromarray(on(larger(hero, 6), (0, 255, 0))).save('green.png')
    rc, out, err = sh('matte', 'green.png', '-o', 'cut.png', '--report', 'r.json')
    assert (rc, err)==(0, []) and out[0].startswith(f'cut.png: {6*hero.shape[1]}x{6*hero.shape[0]} ') and '(key #00ff00, confidence 1.00' in out[0]
    x = read('cut.png').pixels[0]
    assert overlap(x[..., 3]>127, larger(hero, 6)[..., 3]>127)>.99 and spill_share(x, (0, 255, 0))<.02
    r = json.loads(Path('r.json').read_text())['files'][0]
    assert (r['matte'], r['key'], r['native'], r['matte_confidence'])==('key', '00ff00', list(x.shape[1::-1]), 1.)

def test_clean_in_the_smooth_style_is_the_same_cut_out(sh):
    Image.fromarray(on(larger(hero, 6), (255, 0, 255))).save('a.png')
    assert sh('clean', 'a.png', '-o', 'x.png', '--style', 'smooth')[0]==sh('matte', 'a.png', '-o', 'y.png')[0]==0
    assert np.array_equal(read('x.png').pixels[0], read('y.png').pixels[0])

def test_matte_of_a_clip_and_a_folder(sh):
    frames = [on(larger(np.pad(x, ((4, 4), (4, 4), (0, 0))), 4), (255, 0, 255)) for x in make_clip(3, kind='slime', animation='walk', n=3, size=24)]
    Path('in').mkdir(); write_gif(frames, 'in/walk.gif', [80]*3); Image.fromarray(frames[0]).save('in/one.png'); Path('in/bad.png').write_bytes(b'no picture')
    rc, out, err = sh('matte', 'in', '-o', 'out')
    assert rc==1 and len(err)==1 and 'bad.png' in err[0] and out[-1]=='2 cleaned, 1 failed'
    assert Path('out/walk.json').exists() and read('out/one.png').pixels[0].shape[:2]==frames[0].shape[:2]

def test_a_threshold_and_a_sprite_smaller_than_the_networks_step(sh):
    Image.fromarray(on(hero[8:36, 8:36], (255, 0, 255))).save('tiny.png')
    assert sh('matte', 'tiny.png', '-o', 'cut.png', '--threshold', '.5')[0]==0
    assert set(np.unique(read('cut.png').pixels[0][..., 3]))=={0, 255}

@pytest.mark.parametrize('args,said', [
    (['--despill', 'green'], 'despill'), (['--threshold', '2'], 'threshold'), (['--size', '100'], 'multiple of 32'),
    (['--how', 'network', '--weights', 'nobody.safetensors'], 'nobody.safetensors is not there'),
    (['--how', 'network', '--weights', 'half.safetensors'], 'half.safetensors is damaged, half downloaded'),
    (['--how', 'network', '--weights', 'other.safetensors'], '1 surplus: fc.weight')], ids=lambda o: '' if isinstance(o, list) else o[:12])
def test_matte_says_what_is_wrong(sh, args, said):
    import torch
    from safetensors.torch import save_file
    save_file({'fc.weight': torch.zeros(1000)}, 'other.safetensors'); Path('half.safetensors').write_bytes(Path('other.safetensors').read_bytes()[:2000])
    Image.fromarray(on(larger(hero, 2), (255, 0, 255))).save('a.png')
    rc, out, err = sh('matte', 'a.png', *args)
    assert rc==1 and len(err)==1 and said in err[0]

def test_background_alone_and_key_where_there_is_none(sh):
    g = rng('noise').integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save('flat.png'); Image.fromarray(g).save('noise.png')
    assert 'one flat colour' in sh('matte', 'flat.png')[2][0]
    assert 'use --how network' in sh('matte', 'noise.png', '--how', 'key')[2][0]

def test_two_subjects_and_none_on_a_background_without_a_key(sh):
    "By the network that ships: both are found, alone the background says so, and the report names the way"
    from spritedx.corrupt import backdrop
    x = [make_sprite(7, kind=k, size=32).repeat(4, 0).repeat(4, 1) for k in ('knight', 'mage')]
    c = np.zeros((200, 320, 4), np.uint8)
    for o, left in zip(x, (16, 176)): c[36:36+o.shape[0], left:left+o.shape[1]] = o
    weave = backdrop(200, 320, 'weave', rng(3))[..., :3]
    Image.fromarray(on(c, weave)).save('two.png'); Image.fromarray(weave.astype(np.uint8)).save('none.png')
    rc, out, err = sh('matte', 'two.png', 'none.png', '-o', 'cut', '--report', 'r.json')
    assert (rc, err)==(0, []) and 'two.png: 320x200 (network, confidence' in out[0]
    assert 'no subject stands out from the background' in '\n'.join(out[1:])
    a = read('cut/two.png').pixels[0][..., 3]>127
    assert all(overlap(a[:, s], c[:, s, 3]>127)>.8 for s in (slice(160), slice(160, None)))
    assert (read('cut/none.png').pixels[0][..., 3]>127).mean()<.01
    two = json.loads(Path('r.json').read_text())['files'][0]
    assert two['matte']=='network' and 0<two['matte_confidence']<1 and two['key'] is None

def scarce(monkeypatch, most, error):
    "Memory ends above `most` px a side; what the network was shown"
    from spritedx import matte
    fits, seen = matte._forward, []
    def forward(net, rgb):
        seen.append(rgb.shape[:2])
        if len(rgb)>most: raise error
        return fits(net, rgb)
    monkeypatch.setattr(matte, '_forward', forward)
    return seen

@pytest.mark.parametrize('most,args,said', [
    (128, (), 'out of memory at 192 px; the network sees the picture at 96 px'),
    (64, (), 'out of memory at 192 px; the network sees the picture at 96 px in overlapping tiles of 64 px'),
    (300, ('--size', 512), 'out of memory at 512 px; the network sees the picture at 512 px in overlapping tiles of 256 px'),
    (200, ('--size', 512), 'out of memory at 512 px; the network sees the picture at 512 px in overlapping tiles of 128 px')], ids=['half', 'tiles of the half', 'tiles', 'smaller tiles'])
def test_when_memory_runs_out_less_is_seen_and_that_is_said(sh, monkeypatch, most, args, said):
    "Half the size, then tiles; a named size is kept. Every picture is cut out, and the report says how"
    import torch
    from spritedx.corrupt import backdrop
    big = larger(hero, 6); Image.fromarray(on(big, backdrop(*big.shape[:2], 'weave', rng(3))[..., :3])).save('a.png')
    errors = MemoryError(), torch.OutOfMemoryError('too much was asked for'), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    for error in errors if most==128 else errors[most%3:][:1]:
        with monkeypatch.context() as m:
            seen = scarce(m, most, error)
            rc, out, err = sh('matte', 'a.png', '-o', 'cut.png', '--how', 'network', '--report', 'r.json', *args)
        assert (rc, err)==(0, []) and f'  note: {said}' in out
        assert said in json.loads(Path('r.json').read_text())['files'][0]['warnings']
        assert read('cut.png').pixels[0].shape==big.shape
        assert [o for o in seen if max(o)<=most] and all(a%32==b%32==0 for a, b in seen)

def test_a_named_size_in_tiles_finds_the_subject(sh, monkeypatch):
    from spritedx.corrupt import backdrop
    big = larger(hero, 6); Image.fromarray(on(big, backdrop(*big.shape[:2], 'weave', rng(3))[..., :3])).save('a.png')
    scarce(monkeypatch, 192, MemoryError())
    assert sh('matte', 'a.png', '-o', 'cut.png', '--how', 'network', '--size', 384)[0]==0
    assert overlap(read('cut.png').pixels[0][..., 3]>127, big[..., 3]>127)>.6

def test_where_nothing_fits_that_is_an_error_and_other_faults_are_not_memory(sh, monkeypatch):
    Image.fromarray(on(larger(hero, 2), (90, 120, 60))).save('a.png')
    for error, text in ((MemoryError(), 'out of memory even at 64 px; close other programs'), (RuntimeError('sizes do not match'), 'sizes do not match')):
        with monkeypatch.context() as m:
            scarce(m, 32, error); rc, out, err = sh('matte', 'a.png', '--how', 'network')
        assert rc==1 and len(err)==1 and text in err[0]

def test_memory_that_ends_anywhere_else_is_no_fault_of_ours(sh, monkeypatch):
    from spritedx import matte
    def full(*args, **kw): raise MemoryError
    monkeypatch.setattr(matte, 'key_matte', full); Image.fromarray(on(larger(hero, 2), (0, 255, 0))).save('a.png')
    rc, out, err = sh('matte', 'a.png')
    assert rc==1 and len(err)==1 and 'a.png' in err[0] and 'out of memory; try a smaller picture' in err[0] and 'fault' not in err[0]

@pytest.mark.parametrize('hw', [(20, 31), (8, 40), (7, 40)])
def test_the_network_takes_pictures_smaller_than_its_step(sh, hw):
    "Down to 8 px a side; below that there is nothing to see, and that is said"
    Image.fromarray(rng('small').integers(0, 256, (*hw, 3)).astype(np.uint8)).save('a.png')
    rc, out, err = sh('matte', 'a.png', '-o', 'c.png', '--how', 'network')
    if min(hw)<8: assert rc==1 and err==['spritedx: a.png is 40x7, smaller than 8 px a side']
    else: assert rc==0 and read('c.png').pixels[0].shape==(*hw, 4)

def test_little_of_the_background_is_left_in_soft_edges(sh):
    "A soft contour on a busy background: colours of the edge against the subject's own, refined and not"
    from scipy.ndimage import gaussian_filter
    from spritedx.core import premultiply, to_float, to_uint8
    from spritedx.corrupt import backdrop
    p = np.dstack([gaussian_filter(c, 2.5) for c in np.moveaxis(premultiply(to_float(larger(hero, 12))), -1, 0)]); a = p[..., 3]
    own = p[..., :3]/np.maximum(a, 1e-3)[..., None]
    Image.fromarray(to_uint8(p[..., :3]+(1-a[..., None])*backdrop(*a.shape, 'weave', rng(3))[..., :3]/np.float32(255))).save('a.png')
    def off(*args):
        assert sh('matte', 'a.png', '-o', 'c.png', '--how', 'network', *args)[0]==0
        x = read('c.png').pixels[0]; edge = (a>.1)&(a<.9)&(x[..., 3]>25)
        return np.abs(to_float(x[..., :3])-own)[edge].mean()
    assert off()<.5*off('--no-refine', '--despill', 'off')

def test_a_benchmark_takes_no_number_at_another_size(monkeypatch):
    from spritedx import matte_bench as b
    scarce(monkeypatch, 128, MemoryError())
    df = b.run_ways(b.matte_cases(1, conditions=['sprite, photo']), [b.Way('ours', lambda rgb, truth: b.by_network(rgb, size=256))], full=False, progress=False)
    assert df['error'].to_list()==['out of memory at 256 px'] and df['ms'].to_list()==[None]

def test_training_that_does_not_fit_says_what_to_turn(sh, monkeypatch):
    from spritedx import birefnet
    def full(self, x): raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    monkeypatch.setattr(birefnet.BiRefNet, 'encode', full)
    for i in range(6): write_png(make_sprite(i, kind='slime', size=24), Path('heroes')/('val' if i<2 else 'train')/f'{i}.png')
    rc, out, err = sh('train', 'birefnet', '--data', 'heroes', '--size', 64, '--batches', 1, '--bs', 2, '--epochs', 1, '--workers', 0, '-o', 'a')
    assert rc==1 and len(err)==1 and 'out of memory at 2 pictures of 64 px; use a smaller --bs with --accumulate' in err[0]
    import torch
    assert not torch.is_autocast_enabled('cpu'), 'bfloat16 stays on after the error'

def test_train_goes_on_and_its_weights_matte(sh):
    "On a folder of one's own: trained, resumed, tuned from its own weights, and used"
    for i in range(12): write_png(make_sprite(i, kind=('slime', 'knight')[i%2], size=24), Path('heroes')/('val' if i<4 else 'train')/f'{i}.png')
    run = ['train', 'birefnet', '--data', 'heroes', '--size', 64, '--batches', 2, '--bs', 4, '--workers', 0]
    rc, out, err = sh(*run, '--epochs', 1, '-o', 'a')
    assert (rc, err)==(0, []) and out[0].startswith('before training: mae') and out[-1].startswith('best: mae')
    rc, out, err = sh(*run, '--epochs', 2, '-o', 'a')
    assert rc==0 and out[0].startswith('resumed after epoch 1') and [o.split(',')[0] for o in Path('a/history.csv').read_text().splitlines()]==['epoch', '0', '1']
    assert sorted(p.name for p in Path('a/looks').iterdir())==['00.png', '01.png', '02.png']
    rc, out, err = sh(*run, '--epochs', 1, '-o', 'b', '--from', 'a/best.safetensors', '--accumulate', 2)
    assert (rc, err)==(0, [])
    Image.fromarray(larger(rng('scene').integers(0, 256, (20, 25, 3)).astype(np.uint8), 5)).save('s.png')
    rc, out, err = sh('matte', 's.png', '-o', 'c.png', '--weights', 'b/best.safetensors')
    assert (rc, err)==(0, []) and 'c.png: 125x100 (network, confidence' in out[0]
    assert read('c.png').pixels[0].shape==(100, 125, 4)

@pytest.mark.parametrize('args,said', [(['--size', 100], 'multiple of 32'), (['--data', 'nowhere'], 'no folder nowhere'), (['--epochs', 101], 'guardrail'), (['--bs', 0], 'at least 1'),
    (['--from', 'nobody.pth'], 'nobody.pth is not there')], ids=lambda o: '' if isinstance(o, list) else o[:9])
def test_train_says_what_is_wrong(sh, args, said):
    rc, out, err = sh('train', 'birefnet', '--data', 'procedural', *args)
    assert rc==1 and len(err)==1 and said in err[0]

# --- side by side

def test_every_measure_of_a_matte_by_hand():
    "A 3x3 square in a corner of 4x4 pixels, its inner corner .6, the pixel beyond .4; nbs/17_metrics.ipynb works out S, weighted F and E"
    pytest.importorskip('py_sod_metrics')
    from spritedx.matte_bench import matte_scores
    t = np.zeros((4, 4), np.uint8); t[:3, :3] = 255
    a = t/255; a[2, 2], a[3, 3] = .6, .4
    s = matte_scores(a, t)
    assert s.pop('grad')==pytest.approx(((grad(t/255)-grad(a))**2).sum()/1000) and s==pytest.approx(dict(
        mae=.8/16, mse=2*.16/16, sad=.8/1000, iou=1, conn=2*.4/1000, s=.9256276416, wf=.9724095318, e=1.0036164566), abs=1e-9)

def grad(x, s=1.4):
    "Length of the gradient by derivatives of a Gaussian, nothing outside, one sum after the other (Rhemann et al. 2009)"
    k = np.arange(-6, 7); g = np.exp(-k**2/(2*s*s)); g /= g.sum(); d = k/s**2*g
    at = lambda y, x_, u, v: sum(u[i+6]*v[j+6]*x[y+i, x_+j] for i in k for j in k if 0<=y+i<len(x) and 0<=x_+j<len(x))
    return np.array([[np.hypot(at(y, c, d, g), at(y, c, g, d)) for c in range(len(x))] for y in range(len(x))])

def test_a_way_that_cannot_be_run_is_a_row_that_says_why(tmp_path, monkeypatch):
    import polars as pl
    from spritedx import matte_bench as b
    monkeypatch.setenv('SPRITEDX_DATA', str(tmp_path))
    monkeypatch.setattr(b, 'ways', lambda models: [b.Way('key', b.by_key)]+[b.Way(m, lambda rgb, truth: b.by_network(rgb, truth, 'nobody.pth'), m) for m in models])
    text = b.bench_matte(['nobody.pth'], 1, tmp_path/'out', sizes=(64,), progress=False)
    assert 'nobody.pth is not there' in text and 'sprite, photo' in text
    df, costs = (pl.read_parquet(tmp_path/'out'/f'{o}.parquet') for o in ('cases', 'costs'))
    assert df.filter(pl.col('way')=='nobody.pth')['mae'].null_count()==1
    assert costs['way'].to_list()==['key'] and costs['ms'][0]>0 and costs['mb'][0]>=0

def test_the_published_models_have_rows_that_say_what_is_missing(sh, tmp_path, monkeypatch):
    "`spritedx bench matte`: own networks by name, published ones unrun until their weights are given"
    from spritedx import matte_bench as b
    monkeypatch.setenv('SPRITEDX_DATA', str(tmp_path)); monkeypatch.setattr(b, 'costs', lambda ws, sizes: __import__('polars').DataFrame(dict(way=[w.name for w in ws])))
    Path('BiRefNet_HR.pth').write_bytes(b'half')
    rc, out, err = sh('bench', 'matte', '--limit', 1, '--condition', 'sprite, key', '--peer', 'BiRefNet_HR.pth')
    said = '\n'.join(out)
    assert (rc, err)==(0, []) and 'BiRefNet-matting: not run, weights are not here; give --model their path or hub id' in said
    assert 'BiRefNet_HR: not run, BiRefNet_HR.pth is damaged, half downloaded' in said and said.count('BiRefNet_HR: not run')==1
    assert 'sprite, key' in said and 'sprite, photo' not in said
    assert 'no condition' in sh('bench', 'matte', '--condition', 'sprites')[2][0] and 'valid and test' in sh('bench', 'matte', '--set', 'ood')[2][0]
